// How a matrix lies in memory, and what its values are. V rows are the lanes of a vector; V is 1, 4, 8 or 16.
//
// A matrix is tiles of 16 rows, one after the other. A tile is planes, each [elements of a row x 16], 64 bytes aligned, so that an item goes through its tile from front to back. The first plane has the codes:
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
// A kernel that reads values has `planes`, the tile; `row`, the first of its V rows in it; a_plane and so on, where planes start in it; and `values`, the table.

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#if V == 1
#define OF_ROWS(name) name
#define HALVES vload_half
#else
#define OF_ROWS(name) JOIN(name, V)
#define HALVES JOIN(vload_half, V)
#endif
#define FLOATS OF_ROWS(float)
#define INTS OF_ROWS(int)
#define UINTS OF_ROWS(uint)
#define USHORTS OF_ROWS(ushort)
#define UCHARS OF_ROWS(uchar)
#define CHARS OF_ROWS(char)
#define TO_FLOATS OF_ROWS(convert_float)
#define TO_INTS OF_ROWS(convert_int)
#define TO_UINTS OF_ROWS(convert_uint)
#define AS_INTS OF_ROWS(as_int)
#define AS_UINTS OF_ROWS(as_uint)
#define AS_FLOATS OF_ROWS(as_float)

#define TILE 16

// Element `index` of V rows of a plane.
#define OF_PLANE(type, plane, index) (*(GLOBAL const type*)((plane) + ((long)(index) * TILE + row) * (sizeof(type) / V)))
#define HALVES_OF_PLANE(plane, index) HALVES(0, (GLOBAL const half*)(plane) + (long)(index) * TILE + row)

#if CODE == 16
#define VALUE_AT(column) HALVES_OF_PLANE(planes, column)
#elif CODE == 17
#define VALUE_AT(column) AS_FLOATS(TO_UINTS(OF_PLANE(USHORTS, planes, column)) << 16)
#elif CODE == 32
#define VALUE_AT(column) OF_PLANE(FLOATS, planes, column)
#endif

// d and m of a group.
#if SCALE == 1
#define READ_SCALES(group) \
    FLOATS d = HALVES_OF_PLANE(planes + a_plane, group), m = d * -(float)(OFFSET);
#elif SCALE == 2
#define READ_SCALES(group) \
    FLOATS d = HALVES_OF_PLANE(planes + a_plane, group), m = HALVES_OF_PLANE(planes + b_plane, group);
#elif SCALE == 3
#define READ_SCALES(group) \
    FLOATS d = HALVES_OF_PLANE(planes + a_plane, (group) * GROUP / 256) * TO_FLOATS(OF_PLANE(UCHARS, planes + c_plane, group)); \
    FLOATS m = -(HALVES_OF_PLANE(planes + b_plane, (group) * GROUP / 256) * TO_FLOATS(OF_PLANE(UCHARS, planes + d_plane, group)));
#elif SCALE == 4
#define READ_SCALES(group) \
    FLOATS d = HALVES_OF_PLANE(planes + a_plane, (group) * GROUP / 256) * TO_FLOATS(OF_PLANE(CHARS, planes + b_plane, group)), m = d * -(float)(OFFSET);
#elif SCALE == 5
#define READ_SCALES(group) \
    UINTS exponent = TO_UINTS(OF_PLANE(UCHARS, planes + a_plane, group)); \
    FLOATS d = AS_FLOATS(select((exponent - 1) << 23, (UINTS)(0x00200000) << exponent, AS_INTS(exponent) < 2)), m = (FLOATS)(0);
#elif SCALE == 6
#define READ_SCALES(group) \
    FLOATS d = OF_PLANE(FLOATS, planes + a_plane, group), m = d * -(float)(OFFSET);
#elif SCALE == 7
#define READ_SCALES(group) \
    FLOATS d = OF_PLANE(FLOATS, planes + a_plane, group), m = -(d * OF_PLANE(FLOATS, planes + b_plane, group));
#endif

// The codes of 8 columns.
#if CODE == 8
#define READ_CODES(unit) INTS low = AS_INTS(OF_PLANE(UINTS, planes, 2 * (unit))), high = AS_INTS(OF_PLANE(UINTS, planes, 2 * (unit) + 1));
#define CODES(j) (((j & 4 ? high : low) << (24 - 8 * (j & 3))) >> 24)
#elif CODE == 5
#define READ_CODES(unit) INTS low = AS_INTS(OF_PLANE(UINTS, planes, unit)), high = TO_INTS(OF_PLANE(UCHARS, planes + high_plane, unit));
#define CODES(j) (((low >> (4 * j)) & 15) | (((high >> j) & 1) << 4))
#elif CODE == 6
#define READ_CODES(unit) INTS low = AS_INTS(OF_PLANE(UINTS, planes, unit)), high = TO_INTS(OF_PLANE(USHORTS, planes + high_plane, unit));
#define CODES(j) (((low >> (4 * j)) & 15) | (((high >> (2 * j)) & 3) << 4))
#elif CODE == 4
#define READ_CODES(unit) INTS low = AS_INTS(OF_PLANE(UINTS, planes, unit));
#define CODES(j) ((low >> (4 * j)) & 15)
#endif

// Value j of the 8 that were read; the raw one is without d and m, and counted from the MIDDLE of the codes, so that sums stay small.
#if TABLE
inline FLOATS look_up(const float* values, INTS q)
{
#if V == 1
    return values[q];
#elif V == 4
    return (FLOATS)(values[q.s0], values[q.s1], values[q.s2], values[q.s3]);
#elif V == 8
    return (FLOATS)(values[q.s0], values[q.s1], values[q.s2], values[q.s3], values[q.s4], values[q.s5], values[q.s6], values[q.s7]);
#else
    return (FLOATS)(values[q.s0], values[q.s1], values[q.s2], values[q.s3], values[q.s4], values[q.s5], values[q.s6], values[q.s7],
        values[q.s8], values[q.s9], values[q.sa], values[q.sb], values[q.sc], values[q.sd], values[q.se], values[q.sf]);
#endif
}
#define MIDDLE 0
#define RAW_VALUE(j) look_up(values, CODES(j))
#define VALUE(j) (d * RAW_VALUE(j))
#define READ_TABLE \
    float values[16]; \
    for (int i = 0; i < 16; i++) \
        values[i] = table[i];
#else
#define MIDDLE (CODE == 8 ? 0 : 1 << (CODE - 1))
#define RAW_VALUE(j) TO_FLOATS(CODES(j) - MIDDLE)
#define VALUE(j) (d * TO_FLOATS(CODES(j)) + m)
#define READ_TABLE
#endif

#if DOT
// The codes of the 8 columns as two words of bytes: of CODE 8 those of columns 0 to 3 and 4 to 7, else those of even and of odd columns.
#define NIBBLES_OF(shift) (AS_UINTS(low >> (shift)) & 0x0f0f0f0fu)
#if CODE == 8
#define PACK_CODES UINTS first_bytes = AS_UINTS(low), second_bytes = AS_UINTS(high);
#elif CODE == 5
// Multiplied so, bit 2 k of four goes to bit 8 k + 4: no other gets there, nor do carries.
#define FIFTH_BITS(shift) (((AS_UINTS(high >> (shift)) & 0x55u) * 0x00410410u) & 0x10101010u)
#define PACK_CODES UINTS first_bytes = NIBBLES_OF(0) | FIFTH_BITS(0), second_bytes = NIBBLES_OF(4) | FIFTH_BITS(1);
#elif CODE == 6
#define PACK_CODES \
    UINTS pairs = AS_UINTS(high); \
    pairs = (pairs | (pairs << 8)) & 0x00ff00ffu; \
    pairs = (pairs | (pairs << 4)) & 0x0f0f0f0fu; \
    UINTS first_bytes = NIBBLES_OF(0) | ((pairs & 0x03030303u) << 4), second_bytes = NIBBLES_OF(4) | ((pairs & 0x0c0c0c0cu) << 2);
#else
#define PACK_CODES UINTS first_bytes = NIBBLES_OF(0), second_bytes = NIBBLES_OF(4);
#endif

#define DOTS4(a, b) packed_dot(a.s0, b), packed_dot(a.s1, b), packed_dot(a.s2, b), packed_dot(a.s3, b)
inline int8 packed_dots8(uint8 a, uint b)
{
    return (int8)(DOTS4(a.lo, b), DOTS4(a.hi, b));
}

inline INTS packed_dots(UINTS a, uint b)
{
#if V == 1
    return packed_dot(a, b);
#elif V == 4
    return (INTS)(DOTS4(a, b));
#elif V == 8
    return packed_dots8(a, b);
#else
    return (INTS)(packed_dots8(a.lo, b), packed_dots8(a.hi, b));
#endif
}
#endif

// Where the tokens of an expert lie together, `order` tells which they are.
#if GROUPED
#define TOKEN(i) order[i]
#else
#define TOKEN(i) (i)
#endif
