// How keys and values lie in the cache. KV: 0 float32, 1 half, 2 blocks of a half and 32 bytes (Q8_0, 34 bytes), 3 blocks of a half and 32 nibbles (Q4_0, 18 bytes; heads are rotated before).

#if KV == 0
#define KV_VALUE(row, i) (((GLOBAL const float*)(row))[i])
#elif KV == 1
#define KV_VALUE(row, i) LOAD_HALF(row, i)
#elif KV == 2
#define KV_VALUE(row, i) (LOAD_HALF((row) + ((i) >> 5) * 34, 0) * (float)((GLOBAL const char*)(row))[((i) >> 5) * 34 + 2 + ((i) & 31)])
#else
#define KV_VALUE(row, i) (LOAD_HALF((row) + ((i) >> 5) * 18, 0) * (float)(((row)[((i) >> 5) * 18 + 2 + ((i) & 15)] >> (((i) & 16) >> 2) & 15) - 8))
#endif

// W neighbouring values; W is 4 or 16, i a multiple of W.
#define KV_JOIN2(a, b) a##b
#define KV_JOIN(a, b) KV_JOIN2(a, b)
#define WIDE KV_JOIN(float, W)
#define LOAD_WIDE KV_JOIN(vload, W)
#define STORE_WIDE KV_JOIN(vstore, W)
#define TO_WIDE KV_JOIN(convert_float, W)

inline WIDE kv_values(GLOBAL const uchar* row, int i)
{
#if KV == 0
    return LOAD_WIDE(0, (GLOBAL const float*)row + i);
#elif KV == 1
    return KV_JOIN(vload_half, W)(0, (GLOBAL const half*)row + i);
#elif KV == 2
    GLOBAL const uchar* block = row + (i >> 5) * 34;
    return LOAD_HALF(block, 0) * TO_WIDE(LOAD_WIDE(0, (GLOBAL const char*)block + 2 + (i & 31)));
#else
    GLOBAL const uchar* block = row + (i >> 5) * 18;
    return LOAD_HALF(block, 0) * (TO_WIDE((LOAD_WIDE(0, block + 2 + (i & 15)) >> (uchar)((i & 16) >> 2)) & (uchar)15) - 8);
#endif
}

inline float sum_of(WIDE values)
{
    float lanes[W], sum = 0;
    STORE_WIDE(values, 0, lanes);
    for (int i = 0; i < W; i++)
        sum += lanes[i];
    return sum;
}

// Encodes [tokens x columns] into rows of the cache: an item stores a value, or a block of 32. Dimension 0 is the value or block, dimension 1 the token.
KERNEL store_kv(GLOBAL const float* x, long x0, int x_stride, GLOBAL uchar* cache, int row_bytes, int rows, int first_position, int units)
{
    int u = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (u >= units) return;
    GLOBAL uchar* row = cache + (long)((first_position + t) % rows) * row_bytes;
    GLOBAL const float* input = x + x0 + (long)t * x_stride;
#if KV == 0
    ((GLOBAL float*)row)[u] = input[u];
#elif KV == 1
    ((GLOBAL ushort*)row)[u] = half_bits(input[u]);
#elif KV == 2
    input += u * 32;
    row += u * 34;
    float largest = 0;
    for (int i = 0; i < 32; i++)
        largest = fmax(largest, fabs(input[i]));
    float d = largest / 127, inverse = d == 0 ? 0.0f : 1 / d;
    *(GLOBAL ushort*)row = half_bits(d);
    for (int i = 0; i < 32; i++)
    {
        float code = round(input[i] * inverse);
        ((GLOBAL char*)row)[2 + i] = isfinite(code) ? (char)code : (char)0;
    }
#else
    input += u * 32;
    row += u * 18;
    float largest = 0, extreme = 0;
    for (int i = 0; i < 32; i++)
    {
        float magnitude = fabs(input[i]);
        if (magnitude <= largest || isnan(largest)) continue;
        largest = magnitude;
        extreme = input[i];
    }

    float d = extreme / -8, inverse = d == 0 ? 0.0f : 1 / d;
    *(GLOBAL ushort*)row = half_bits(d);
    for (int i = 0; i < 16; i++)
    {
        float low = input[i] * inverse, high = input[i + 16] * inverse;
        int low_code = isfinite(low) ? min(15, (int)(low + 8.5f)) : 0, high_code = isfinite(high) ? min(15, (int)(high + 8.5f)) : 0;
        row[2 + i] = (uchar)(low_code | (high_code << 4));
    }
#endif
}

// The normalized Walsh-Hadamard transform, in place: a group has a head. Dimension 0 is the head, 1 the token. block: the largest power of two that divides the head's size.
KERNEL rotate_heads(GLOBAL float* x, long x0, int x_stride, int size, int block, LOCAL float* values)
{
    int item = ITEM_ID(0), items = GROUP_ITEMS(0);
    GLOBAL float* head = x + x0 + (long)GROUP_ID(1) * x_stride + (long)GROUP_ID(0) * size;
    for (int i = item; i < size; i += items)
        values[i] = head[i];
    BARRIER();
    for (int span = 1; span < block; span *= 2)
    {
        for (int pair = item; pair < size / 2; pair += items)
        {
            int i = pair / span * (2 * span) + pair % span;
            float a = values[i], b = values[i + span];
            values[i] = a + b;
            values[i + span] = a - b;
        }

        BARRIER();
    }

    float scale = 1 / sqrt((float)block);
    for (int i = item; i < size; i += items)
        head[i] = values[i] * scale;
}
