// Products of many tokens with a matrix, through local memory: a group of 64 items has 64 rows and 64 tokens. It goes through the columns 32 at a time: an item decodes 4 rows x 8 columns, all copy the tokens'
// values, then an item multiplies 8 rows with 8 tokens. V is 4.
// Dimension 0 is the rows, 1 the tokens. Where GROUPED, these are a block of group_rows.
// Where DOT or HALF, x are words of inputs.cl, and strides are in words: codes are multiplied as bytes, or, 8 columns at a time, in half arithmetic, and their sums over 16 columns are scaled in float32.
// local: [32 x 64 + 32 x 65]; DOT: [2 x 2 x 64 + 3 x 65 + 8 x 64 + 8 x 65]; HALF: [2 x 2 x 64 + 3 x 65], and halves [32 x 64 + 32 x 66].
#define GROUP_ROWS 64
#define GROUP_TOKENS 64
#define DEPTH 32

// One more, so that neighbouring items write to different banks.
#define INPUT_STEP (GROUP_TOKENS + 1)
#define HALF_STEP (GROUP_TOKENS + 2)
#if HALF
#define PUT(j) vstore_half4(RAW_VALUE(j), 0, decoded + j * GROUP_ROWS);
#else
#define PUT(j) vstore4(VALUE(j), 0, decoded + j * GROUP_ROWS);
#endif

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
    int quad = item % (GROUP_ROWS / 4), own_unit = item / (GROUP_ROWS / 4), first = group_row + quad * 4;
    if (first >= rows_padded) first = 0;
    int row = first % TILE;
    GLOBAL const uchar* planes = weights + matrix * matrix_bytes + (long)(first / TILE) * tile_bytes;
    int own_rows = item % 8 * 8, own_tokens = item / 8 * 8;
    float8 sums[8];
    for (int t = 0; t < 8; t++)
        sums[t] = (float8)(0);
    READ_TABLE
#if DOT || HALF
    // What 16 columns share: d and m of rows; of tokens the scale and, of either half, the scaled sum.
    LOCAL float* factors = scratch;
    LOCAL float* offsets = factors + 2 * GROUP_ROWS;
    LOCAL float* input_scales = offsets + 2 * GROUP_ROWS;
#if DOT
    LOCAL uint* codes = (LOCAL uint*)(input_scales + 3 * INPUT_STEP);
    LOCAL uint* inputs = codes + 8 * GROUP_ROWS;
#else
    LOCAL half* codes = (LOCAL half*)(input_scales + 3 * INPUT_STEP);
    LOCAL half* inputs = codes + DEPTH * GROUP_ROWS;
    LOCAL half* decoded = codes + own_unit * 8 * GROUP_ROWS + quad * 4;
#endif
    for (int start = 0; start < columns; start += DEPTH)
    {
        int column = start + own_unit * 8;
        READ_SCALES(column / GROUP)
        READ_CODES(column / 8)
        if (own_unit % 2 == 0)
        {
            vstore4(d, 0, factors + own_unit / 2 * GROUP_ROWS + quad * 4);
#if HALF
            m += d * (float)(MIDDLE);
#endif
            vstore4(m, 0, offsets + own_unit / 2 * GROUP_ROWS + quad * 4);
        }

#if DOT
        PACK_CODES
        vstore4(first_bytes, 0, codes + 2 * own_unit * GROUP_ROWS + quad * 4);
        vstore4(second_bytes, 0, codes + (2 * own_unit + 1) * GROUP_ROWS + quad * 4);
#else
        PUT(0) PUT(1) PUT(2) PUT(3) PUT(4) PUT(5) PUT(6) PUT(7)
#endif
        for (int e = item; e < (INPUT_WORDS - 1) * GROUP_TOKENS; e += items)
        {
            int c = e % (INPUT_WORDS - 1), t = e / (INPUT_WORDS - 1), scale = c - (INPUT_WORDS - 4);
            uint word = 0;
            if (begin + t < end) word = ((GLOBAL const uint*)x)[x0 + (long)(TOKEN(begin + t) / x_share) * x_stride + start / 32 * INPUT_WORDS + c];
            if (scale >= 0)
            {
                input_scales[scale * INPUT_STEP + t] = FLOAT_OF(word);
                continue;
            }

#if DOT
            inputs[c * INPUT_STEP + t] = word;
#else
            ((LOCAL ushort*)inputs)[2 * c * HALF_STEP + t] = (ushort)word;
            ((LOCAL ushort*)inputs)[(2 * c + 1) * HALF_STEP + t] = (ushort)(word >> 16);
#endif
        }

        BARRIER();
        for (int part = 0; part < 2; part++)
        {
            float8 factor = vload8(0, factors + part * GROUP_ROWS + own_rows), offset = vload8(0, offsets + part * GROUP_ROWS + own_rows);
#if DOT
            int8 products[8];
            for (int t = 0; t < 8; t++)
                products[t] = (int8)(0);
            for (int word = part * 4; word < part * 4 + 4; word++)
            {
                uint8 bytes = vload8(0, codes + word * GROUP_ROWS + own_rows);
                LOCAL const uint* input = inputs + word * INPUT_STEP + own_tokens;
                for (int t = 0; t < 8; t++)
                    products[t] += packed_dots8(bytes, input[t]);
            }
#else
            float8 products[8];
            for (int t = 0; t < 8; t++)
                products[t] = (float8)(0);
            for (int unit = part * 2; unit < part * 2 + 2; unit++)
            {
                HALF8 halves[8];
                for (int t = 0; t < 8; t++)
                    halves[t] = (HALF8)(0);
                for (int c = unit * 8; c < unit * 8 + 8; c++)
                {
                    HALF8 code = LOAD_HALF8(codes + c * GROUP_ROWS + own_rows);
                    LOCAL const half* input = inputs + c * HALF_STEP + own_tokens;
                    for (int t = 0; t < 8; t++)
                        ADD_PRODUCTS(halves[t], code, LOAD_HALF1(input + t));
                }

                for (int t = 0; t < 8; t++)
                    products[t] += convert_float8(halves[t]);
            }
#endif

            for (int t = 0; t < 8; t++)
            {
                LOCAL const float* scale = input_scales + own_tokens + t;
                sums[t] += factor * (convert_float8(products[t]) * scale[0]) + offset * scale[(1 + part) * INPUT_STEP];
            }
        }

        BARRIER();
    }
#else
    LOCAL float* inputs = scratch + DEPTH * GROUP_ROWS;
    LOCAL float* decoded = scratch + own_unit * 8 * GROUP_ROWS + quad * 4;
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
#endif

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
