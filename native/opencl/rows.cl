// Rows of a matrix, decoded: an item has 8 columns of one of them. V is 1. Dimension 0 is the 8 columns, 1 the row that is asked for; rows of other parts of the matrix are left alone.
#define PUT(j) output[j] = VALUE(j) * scale;

KERNEL get_rows(GLOBAL const uchar* weights, long tile_bytes, long high_plane, long a_plane, long b_plane, long c_plane, long d_plane, GLOBAL const float* table,
    GLOBAL const float* scales, int rows, int columns, int first_row, GLOBAL const int* ids, GLOBAL float* y, long y0, int y_stride)
{
    int column = GLOBAL_ID(0) * 8, t = GLOBAL_ID(1);
    if (column >= columns) return;
    int own = ids[t] - first_row;
    if (own < 0 || own >= rows) return;
    int row = own % TILE;
    GLOBAL const uchar* planes = weights + (long)(own / TILE) * tile_bytes;
    GLOBAL float* output = y + y0 + (long)t * y_stride + column;
    float scale = scales[0];
    READ_TABLE
#if CODE >= 16
    for (int j = 0; j < 8 && column + j < columns; j++)
        output[j] = VALUE_AT(column + j) * scale;
#else
    READ_SCALES(column / GROUP)
    READ_CODES(column / 8)
    PUT(0) PUT(1) PUT(2) PUT(3) PUT(4) PUT(5) PUT(6) PUT(7)
#endif
}
