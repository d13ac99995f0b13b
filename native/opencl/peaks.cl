// What a device gives at best: reading memory, and multiplying on registers. V as in matmul.cl.

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define FLOATS JOIN(float, V)

// A group reads a piece of its own, its items beside one another. count: vectors of a group, a multiple of its items.
KERNEL read_memory(GLOBAL const FLOATS* x, int count, GLOBAL FLOATS* sums)
{
    GLOBAL const FLOATS* piece = x + (long)GROUP_ID(0) * count;
    FLOATS a = (FLOATS)(0), b = a, c = a, d = a;
    int items = GROUP_ITEMS(0), i = ITEM_ID(0);
    for (; i + 3 * items < count; i += 4 * items)
    {
        a += piece[i];
        b += piece[i + items];
        c += piece[i + 2 * items];
        d += piece[i + 3 * items];
    }

    for (; i < count; i += items)
        a += piece[i];
    sums[GLOBAL_ID(0)] = a + b + c + d;
}

// 8 chains that do not wait for one another, 8 x V multiply-adds a round.
KERNEL multiply_add(GLOBAL FLOATS* sums, int rounds, float factor)
{
    FLOATS a = (FLOATS)(GLOBAL_ID(0)), b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5, g = a + 6, h = a + 7, m = (FLOATS)(factor);
    for (int i = 0; i < rounds; i++)
    {
        a = a * m + m;
        b = b * m + m;
        c = c * m + m;
        d = d * m + m;
        e = e * m + m;
        f = f * m + m;
        g = g * m + m;
        h = h * m + m;
    }

    sums[GLOBAL_ID(0)] = a + b + c + d + e + f + g + h;
}
