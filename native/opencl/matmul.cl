// Products of tokens with a matrix whose rows lie beside one another: V rows are the lanes of a vector, an item has V rows and T tokens, and SPLIT items share the columns.
// Weights are decoded when they are read, and multiplied in float32.
//
// A matrix is planes, each [elements of a row x rows_padded], 64 bytes aligned. The first plane has the codes:
//   CODE 4, 5, 6  a uint for 8 columns, 4 bits each; for 5 and 6 a second plane has the higher bits of these 8, in a byte and in a ushort
//   CODE 8        a uint for 4 columns, a signed byte each
//   CODE 16       a half a column; 17: the upper half of a float32; 32: a float32
// Others have scales. A value is d x code + m, or d x table[code] where TABLE is 1; each GROUP of columns has
//   SCALE 0  none
//         1  a: half d; m = -OFFSET d
//         2  a: half d, b: half m
//         3  a, b: half D and M for 256 columns, c, d: bytes; d = D c, m = -M d
//         4  a: half D for 256 columns, b: signed bytes; d = D b, m = -OFFSET d
//         5  a: a byte e; d = 2^(e - 128), m = 0
//         6  a: float32 d; m = -OFFSET d
//         7  a: float32 d, b: float32 z; m = -z d

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define FLOATS JOIN(float, V)
#define INTS JOIN(int, V)
#define UINTS JOIN(uint, V)
#define USHORTS JOIN(ushort, V)
#define UCHARS JOIN(uchar, V)
#define CHARS JOIN(char, V)
#define TO_FLOATS JOIN(convert_float, V)
#define TO_INTS JOIN(convert_int, V)
#define TO_UINTS JOIN(convert_uint, V)
#define AS_INTS JOIN(as_int, V)
#define AS_FLOATS JOIN(as_float, V)
#define HALVES JOIN(vload_half, V)
#define STORE JOIN(vstore, V)

// Element `index` of V rows of a plane.
#define OF_PLANE(type, plane, index) (*(GLOBAL const type*)((plane) + ((long)(index) * rows_padded + row) * (sizeof(type) / V)))
#define HALVES_OF_PLANE(plane, index) HALVES(0, (GLOBAL const half*)(plane) + (long)(index) * rows_padded + row)

#if TABLE
#if V == 4
#define LOOK_UP(q) (FLOATS)(values[q.s0], values[q.s1], values[q.s2], values[q.s3])
#elif V == 8
#define LOOK_UP(q) (FLOATS)(values[q.s0], values[q.s1], values[q.s2], values[q.s3], values[q.s4], values[q.s5], values[q.s6], values[q.s7])
#else
#define LOOK_UP(q) (FLOATS)(values[q.s0], values[q.s1], values[q.s2], values[q.s3], values[q.s4], values[q.s5], values[q.s6], values[q.s7], \
    values[q.s8], values[q.s9], values[q.sa], values[q.sb], values[q.sc], values[q.sd], values[q.se], values[q.sf])
#endif
#endif

#define MULTIPLY(column, w) \
    { \
        FLOATS weight = w; \
        for (int t = 0; t < T; t++) \
            sums[t] += weight * inputs[t][column]; \
    }

KERNEL matmul(GLOBAL const uchar* weights, long matrix_bytes, long high_plane, long a_plane, long b_plane, long c_plane, long d_plane, GLOBAL const float* table,
    GLOBAL const float* scales, int rows, int rows_padded, int columns, int first_row, GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int tokens,
    GLOBAL const int* experts, long e0, int e_stride, int used, int x_share, int matrices, LOCAL float* scratch)
{
    int row = GLOBAL_ID(0) * V, split = ITEM_ID(1), first_token = GROUP_ID(2) * T, matrix = 0;
    int is_inside = row < rows_padded;
    if (!is_inside) row = 0;
    if (used) matrix = experts[e0 + (long)(first_token / used) * e_stride + first_token % used];
    int is_known = (uint)matrix < (uint)matrices;
    if (!is_known) matrix = 0;
    GLOBAL const uchar* planes = weights + matrix * matrix_bytes;
    GLOBAL const float* inputs[T];
    FLOATS sums[T];
    for (int t = 0; t < T; t++)
    {
        // Tokens past the last one repeat it, and are not stored.
        inputs[t] = x + x0 + (long)(min(first_token + t, tokens - 1) / x_share) * x_stride;
        sums[t] = (FLOATS)(0);
    }

#if TABLE
    float values[16];
    for (int i = 0; i < 16; i++)
        values[i] = table[i];
#endif

#if CODE >= 16
    for (int unit = split; unit * 8 < columns; unit += SPLIT)
    {
        int end = min(unit * 8 + 8, columns);
        for (int column = unit * 8; column < end; column++)
        {
#if CODE == 16
            MULTIPLY(column, HALVES_OF_PLANE(planes, column))
#elif CODE == 17
            MULTIPLY(column, AS_FLOATS(TO_UINTS(OF_PLANE(USHORTS, planes, column)) << 16))
#else
            MULTIPLY(column, OF_PLANE(FLOATS, planes, column))
#endif
        }
    }
#else
    for (int group = split; group * GROUP < columns; group += SPLIT)
    {
#if SCALE == 1
        FLOATS d = HALVES_OF_PLANE(planes + a_plane, group), m = d * -(float)(OFFSET);
#elif SCALE == 2
        FLOATS d = HALVES_OF_PLANE(planes + a_plane, group), m = HALVES_OF_PLANE(planes + b_plane, group);
#elif SCALE == 3
        int block = group * GROUP / 256;
        FLOATS d = HALVES_OF_PLANE(planes + a_plane, block) * TO_FLOATS(OF_PLANE(UCHARS, planes + c_plane, group));
        FLOATS m = -(HALVES_OF_PLANE(planes + b_plane, block) * TO_FLOATS(OF_PLANE(UCHARS, planes + d_plane, group)));
#elif SCALE == 4
        FLOATS d = HALVES_OF_PLANE(planes + a_plane, group * GROUP / 256) * TO_FLOATS(OF_PLANE(CHARS, planes + b_plane, group)), m = d * -(float)(OFFSET);
#elif SCALE == 5
        UINTS exponent = TO_UINTS(OF_PLANE(UCHARS, planes + a_plane, group));
        FLOATS d = AS_FLOATS(select((exponent - 1) << 23, (UINTS)(0x00200000) << exponent, AS_INTS(exponent) < 2)), m = (FLOATS)(0);
#elif SCALE == 6
        FLOATS d = OF_PLANE(FLOATS, planes + a_plane, group), m = d * -(float)(OFFSET);
#else
        FLOATS d = OF_PLANE(FLOATS, planes + a_plane, group), m = -(d * OF_PLANE(FLOATS, planes + b_plane, group));
#endif

        for (int unit = group * (GROUP / 8); unit < (group + 1) * (GROUP / 8); unit++)
        {
            int column = unit * 8;
#if CODE == 8
            INTS low = AS_INTS(OF_PLANE(UINTS, planes, 2 * unit)), high = AS_INTS(OF_PLANE(UINTS, planes, 2 * unit + 1));
#define CODES(j) (((j & 4 ? high : low) << (24 - 8 * (j & 3))) >> 24)
#else
            INTS low = AS_INTS(OF_PLANE(UINTS, planes, unit));
#if CODE == 5
            INTS high = TO_INTS(OF_PLANE(UCHARS, planes + high_plane, unit));
#define CODES(j) (((low >> (4 * j)) & 15) | (((high >> j) & 1) << 4))
#elif CODE == 6
            INTS high = TO_INTS(OF_PLANE(USHORTS, planes + high_plane, unit));
#define CODES(j) (((low >> (4 * j)) & 15) | (((high >> (2 * j)) & 3) << 4))
#else
#define CODES(j) ((low >> (4 * j)) & 15)
#endif
#endif
#if TABLE
#define STEP(j) { INTS q = CODES(j); MULTIPLY(column + j, d * LOOK_UP(q)) }
#else
#define STEP(j) MULTIPLY(column + j, d * TO_FLOATS(CODES(j)) + m)
#endif
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
        GLOBAL float* output = y + y0 + (long)(first_token + t) * y_stride + first_row + row;
        FLOATS sum = sums[t] * scale;
        if (row + V <= rows)
        {
            STORE(sum, 0, output);
            continue;
        }

        float lanes[V];
        STORE(sum, 0, lanes);
        for (int i = 0; row + i < rows; i++)
            output[i] = lanes[i];
    }
}
