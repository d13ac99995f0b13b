// Products of tokens with a matrix: an item has V rows and T tokens, and SPLIT items share the columns. Weights are decoded when they are read, and multiplied in float32.
// Where DOT, x are words of inputs.cl, codes are multiplied with them as bytes, and their sums over a run of 32 columns, or over a group of fewer, are scaled in float32. Strides are in words then.
// Dimension 0 is the rows, 1 the share of the columns, 2 the tokens. Where GROUPED, these are a block of group_rows; else each token may have an expert of its own, where T is 1.

#define STORE JOIN(vstore, V)

#define MULTIPLY(column, w) \
    { \
        FLOATS weight = w; \
        for (int t = 0; t < T; t++) \
            sums[t] += weight * inputs[t][column]; \
    }

KERNEL matmul(GLOBAL const uchar* weights, long matrix_bytes, long tile_bytes, long high_plane, long a_plane, long b_plane, long c_plane, long d_plane, GLOBAL const float* table,
    GLOBAL const float* scales, int rows, int rows_padded, int columns, int first_row, GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int tokens,
    GLOBAL const int* experts, long e0, int e_stride, int used, GLOBAL const int* order, GLOBAL const int* blocks, int x_share, int matrices, LOCAL float* scratch)
{
    int first = GLOBAL_ID(0) * V, split = ITEM_ID(1);
#if GROUPED
    int matrix = blocks[3 * GROUP_ID(2)], first_token = blocks[3 * GROUP_ID(2) + 1];
    tokens = blocks[3 * GROUP_ID(2) + 2];
    if (first_token >= tokens) return;
#else
    int matrix = 0, first_token = GROUP_ID(2) * T;
    if (used) matrix = experts[e0 + (long)(first_token / used) * e_stride + first_token % used];
#endif
    int is_inside = first < rows_padded;
    if (!is_inside) first = 0;
    int is_known = (uint)matrix < (uint)matrices;
    if (!is_known) matrix = 0;
    int row = first % TILE;
    GLOBAL const uchar* planes = weights + matrix * matrix_bytes + (long)(first / TILE) * tile_bytes;
    GLOBAL const float* inputs[T];
    FLOATS sums[T];
    for (int t = 0; t < T; t++)
    {
        // Tokens past the last one repeat it, and are not stored.
        inputs[t] = x + x0 + (long)(TOKEN(min(first_token + t, tokens - 1)) / x_share) * x_stride;
        sums[t] = (FLOATS)(0);
    }

    READ_TABLE
#if CODE >= 16
    for (int unit = split; unit * 8 < columns; unit += SPLIT)
    {
        int end = min(unit * 8 + 8, columns);
        for (int column = unit * 8; column < end; column++)
            MULTIPLY(column, VALUE_AT(column))
    }
#elif DOT
#define RUN (GROUP < 32 ? GROUP : 32)
    for (int run = split; run * RUN < columns; run += SPLIT)
    {
        READ_SCALES(run * RUN / GROUP)
        INTS products[T];
        for (int t = 0; t < T; t++)
            products[t] = (INTS)(0);
        for (int unit = run * (RUN / 8); unit < (run + 1) * (RUN / 8); unit++)
        {
            READ_CODES(unit)
            PACK_CODES
            for (int t = 0; t < T; t++)
            {
                GLOBAL const uint* words = (GLOBAL const uint*)inputs[t] + unit / 4 * INPUT_WORDS + unit % 4 * 2;
                products[t] += packed_dots(first_bytes, words[0]) + packed_dots(second_bytes, words[1]);
            }
        }

        for (int t = 0; t < T; t++)
        {
            GLOBAL const float* scale = inputs[t] + run * RUN / 32 * INPUT_WORDS + INPUT_WORDS - 4;
            sums[t] += d * (TO_FLOATS(products[t]) * scale[0]) + m * (RUN == 32 ? scale[1] + scale[2] : scale[1 + run % 2]);
        }
    }
#else
#define STEP(j) MULTIPLY(unit * 8 + j, VALUE(j))
    for (int group = split; group * GROUP < columns; group += SPLIT)
    {
        READ_SCALES(group)
        for (int unit = group * (GROUP / 8); unit < (group + 1) * (GROUP / 8); unit++)
        {
            READ_CODES(unit)
            STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
        }
    }
#endif

#if SPLIT > 1
    LOCAL FLOATS* shared = (LOCAL FLOATS*)scratch;
    for (int t = 0; t < T; t++)
        shared[(t * SPLIT + split) * GROUP_ITEMS(0) + ITEM_ID(0)] = sums[t];
    BARRIER();
    if (split != 0) return;
    for (int t = 0; t < T; t++)
        for (int s = 1; s < SPLIT; s++)
            sums[t] += shared[(t * SPLIT + s) * GROUP_ITEMS(0) + ITEM_ID(0)];
#endif

    if (!is_inside) return;
    float scale = is_known ? scales[matrix] : FLOAT_OF(0x7fc00000u);
    for (int t = 0; t < T && first_token + t < tokens; t++)
    {
        GLOBAL float* output = y + y0 + (long)TOKEN(first_token + t) * y_stride + first_row + first;
        FLOATS sum = sums[t] * scale;
        if (first + V <= rows)
        {
            STORE(sum, 0, output);
            continue;
        }

        float lanes[V];
        STORE(sum, 0, lanes);
        for (int i = 0; first + i < rows; i++)
            output[i] = lanes[i];
    }
}
