// Products of many tokens with a matrix, through local memory: a group of 64 items has 64 rows and 64 tokens. It goes through the columns 32 at a time: an item decodes 4 rows x 8 columns, all copy the tokens'
// values, then an item multiplies 8 rows with 8 tokens. V is 4.
// Dimension 0 is the rows, 1 the tokens. Where GROUPED, these are a block of group_rows. local: [32 x 64 + 32 x 65].
#define GROUP_ROWS 64
#define GROUP_TOKENS 64
#define DEPTH 32

// One more, so that neighbouring items write to different banks.
#define INPUT_STEP (GROUP_TOKENS + 1)
#define PUT(j) vstore4(VALUE(j), 0, decoded + j * GROUP_ROWS);

KERNEL gemm(GLOBAL const uchar* weights, long matrix_bytes, long tile_bytes, long high_plane, long a_plane, long b_plane, long c_plane, long d_plane, GLOBAL const float* table,
    GLOBAL const float* scales, int rows, int rows_padded, int columns, int first_row, GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int tokens,
    GLOBAL const int* order, GLOBAL const int* blocks, int x_share, int matrices, LOCAL float* scratch)
{
    int item = ITEM_ID(0), items = GROUP_ITEMS(0), group_row = GROUP_ID(0) * GROUP_ROWS;
#if GROUPED
    int matrix = blocks[3 * GROUP_ID(1)], begin = blocks[3 * GROUP_ID(1) + 1], end = blocks[3 * GROUP_ID(1) + 2];
#else
    int matrix = 0, begin = GROUP_ID(1) * GROUP_TOKENS, end = min(tokens, begin + GROUP_TOKENS);
#endif
    if (begin >= end) return;
    int is_known = (uint)matrix < (uint)matrices;
    if (!is_known) matrix = 0;
    LOCAL float* inputs = scratch + DEPTH * GROUP_ROWS;
    int quad = item % (GROUP_ROWS / 4), own_unit = item / (GROUP_ROWS / 4), first = group_row + quad * 4;
    if (first >= rows_padded) first = 0;
    int row = first % TILE;
    GLOBAL const uchar* planes = weights + matrix * matrix_bytes + (long)(first / TILE) * tile_bytes;
    LOCAL float* decoded = scratch + own_unit * 8 * GROUP_ROWS + quad * 4;
    int own_rows = item % 8 * 8, own_tokens = item / 8 * 8;
    float8 sums[8];
    for (int t = 0; t < 8; t++)
        sums[t] = (float8)(0);
    READ_TABLE
    for (int start = 0; start < columns; start += DEPTH)
    {
        int column = start + own_unit * 8;
#if CODE >= 16
        for (int j = 0; j < 8; j++)
        {
            FLOATS value = (FLOATS)(0);
            if (column + j < columns) value = VALUE_AT(column + j);
            vstore4(value, 0, decoded + j * GROUP_ROWS);
        }
#else
        if (column < columns)
        {
            READ_SCALES(column / GROUP)
            READ_CODES(column / 8)
            PUT(0) PUT(1) PUT(2) PUT(3) PUT(4) PUT(5) PUT(6) PUT(7)
        }
        else
        {
            for (int j = 0; j < 8; j++)
                vstore4((float4)(0), 0, decoded + j * GROUP_ROWS);
        }
#endif

        for (int e = item; e < DEPTH * GROUP_TOKENS; e += items)
        {
            int c = e % DEPTH, t = e / DEPTH;
            float value = 0;
            if (start + c < columns && begin + t < end) value = x[x0 + (long)(TOKEN(begin + t) / x_share) * x_stride + start + c];
            inputs[c * INPUT_STEP + t] = value;
        }

        BARRIER();
        for (int c = 0; c < DEPTH; c++)
        {
            float8 weight = vload8(0, scratch + c * GROUP_ROWS + own_rows);
            LOCAL const float* input = inputs + c * INPUT_STEP + own_tokens;
            for (int t = 0; t < 8; t++)
                sums[t] += weight * input[t];
        }

        BARRIER();
    }

    float scale = is_known ? scales[matrix] : FLOAT_OF(0x7fc00000u);
    int top = group_row + own_rows;
    for (int t = 0; t < 8 && begin + own_tokens + t < end; t++)
    {
        GLOBAL float* output = y + y0 + (long)TOKEN(begin + own_tokens + t) * y_stride + first_row + top;
        float8 sum = sums[t] * scale;
        if (top + 8 <= rows)
        {
            vstore8(sum, 0, output);
            continue;
        }

        float lanes[8];
        vstore8(sum, 0, lanes);
        for (int i = 0; top + i < rows && i < 8; i++)
            output[i] = lanes[i];
    }
}
