// A group norms one group of columns of one row: dimension 0 is the group of columns, dimension 1 the row. Kinds: Rms 0, Layer 1, Euclidean 2.
// A gain, or bias, is none (0), of the group's size (1), or of all columns (2).
KERNEL norm(GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int size, int kind, float epsilon,
    GLOBAL const float* gain, int gain_kind, GLOBAL const float* bias, int bias_kind, LOCAL float* scratch)
{
    int item = ITEM_ID(0), items = GROUP_ITEMS(0), start = GROUP_ID(0) * size;
    GLOBAL const float* input = x + x0 + (long)GROUP_ID(1) * x_stride + start;
    GLOBAL float* output = y + y0 + (long)GROUP_ID(1) * y_stride + start;
    float mean = 0, squares = 0, sum = 0;
    if (kind == 1)
    {
        for (int c = item; c < size; c += items)
            sum += input[c];
    }

#if SUB_GROUPS
    // Under no condition: behind a sub-group's sum under one, PoCL 6.0 computes wrong ones.
    mean = group_sum(scratch, sum) / size;
#else
    if (kind == 1) mean = group_sum(scratch, sum) / size;
#endif

    for (int c = item; c < size; c += items)
    {
        float d = input[c] - mean;
        squares += d * d;
    }

    squares = group_sum(scratch, squares);
    float factor = kind == 2 ? 1 / fmax(sqrt(squares), epsilon) : 1 / sqrt(squares / size + epsilon);
    for (int c = item; c < size; c += items)
    {
        float value = (input[c] - mean) * factor;
        if (gain_kind) value *= gain[gain_kind == 1 ? c : start + c];
        if (bias_kind) value += bias[bias_kind == 1 ? c : start + c];
        output[c] = value;
    }
}
