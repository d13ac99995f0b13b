// What is done to single values of [rows x columns], an item each: dimension 0 is the column, dimension 1 the row.
// A tensor is memory, its first element and the elements between two rows.

// y = a + b; b's rows are 0 elements apart where it is one row for all.
KERNEL add(GLOBAL const float* a, long a0, int a_stride, GLOBAL const float* b, long b0, int b_stride, GLOBAL float* y, long y0, int y_stride, int columns)
{
    int c = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (c >= columns) return;
    y[y0 + (long)t * y_stride + c] = a[a0 + (long)t * a_stride + c] + b[b0 + (long)t * b_stride + c];
}

// x[row] += biases[experts[row]].
KERNEL add_expert_bias(GLOBAL float* x, long x0, int x_stride, GLOBAL const float* biases, int count, GLOBAL const int* experts, long e0, int e_stride, int used, int columns)
{
    int c = GLOBAL_ID(0), row = GLOBAL_ID(1);
    if (c >= columns) return;
    int expert = experts[e0 + (long)(row / used) * e_stride + row % used];
    float bias = (uint)expert < (uint)count ? biases[(long)expert * columns + c] : FLOAT_OF(0x7fc00000u);
    x[x0 + (long)row * x_stride + c] += bias;
}

// Copy 0, scale 1, clamp to a limit 2, soft cap 3.
KERNEL change(GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int columns, int kind, float number)
{
    int c = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (c >= columns) return;
    float value = x[x0 + (long)t * x_stride + c];
    if (kind == 1) value *= number;
    else if (kind == 2) value = value < -number ? -number : value > number ? number : value;
    else if (kind == 3) value = number * tanh(value / number);
    y[y0 + (long)t * y_stride + c] = value;
}

// What products read where weights have a scale of their inputs: the nearest whole multiple of it, ties to the even one, of at most 127 to either side; NaN where x is NaN or infinite.
// inverse: 1 / scale. The bits are those of Nibble.Core's InputRounding, also where denormal numbers count as 0.
KERNEL round_inputs(GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int columns, float scale, float inverse)
{
    int c = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (c >= columns) return;
    float value = x[x0 + (long)t * x_stride + c], multiple = rint(value * inverse);
    multiple = multiple < -127 ? -127.0f : multiple > 127 ? 127.0f : multiple;
    y[y0 + (long)t * y_stride + c] = isfinite(value) ? scale * multiple : FLOAT_OF(0x7fc00000u);
}

// y = activation(x).
KERNEL activate(GLOBAL const float* x, long x0, int x_stride, GLOBAL float* y, long y0, int y_stride, int columns, int kind, GLOBAL const float* gelu)
{
    int c = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (c >= columns) return;
    y[y0 + (long)t * y_stride + c] = activation(kind, x[x0 + (long)t * x_stride + c], gelu);
}

// y = activation(gate) x up; 7 is gpt-oss' SwigluOai.
KERNEL gated(GLOBAL const float* gate, long g0, int g_stride, GLOBAL const float* up, long u0, int u_stride, GLOBAL float* y, long y0, int y_stride, int columns, int kind, GLOBAL const float* gelu)
{
    int c = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (c >= columns) return;
    float g = gate[g0 + (long)t * g_stride + c], u = up[u0 + (long)t * u_stride + c], value;
    if (kind == 7)
    {
        g = g > 7 ? 7.0f : g;
        u = u < -7 ? -7.0f : u > 7 ? 7.0f : u;
        value = g / (1 + exp(-1.702f * g)) * (u + 1);
    }
    else
    {
        value = activation(kind, g, gelu) * u;
    }

    y[y0 + (long)t * y_stride + c] = value;
}

// y[t] = sum over i of weights[t, i] x[t n + i].
KERNEL combine(GLOBAL const float* x, long x0, int x_stride, GLOBAL const float* weights, long w0, int w_stride, int used, GLOBAL float* y, long y0, int y_stride, int columns)
{
    int c = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (c >= columns) return;
    float sum = 0;
    for (int i = 0; i < used; i++)
        sum += weights[w0 + (long)t * w_stride + i] * x[x0 + ((long)t * used + i) * x_stride + c];
    y[y0 + (long)t * y_stride + c] = sum;
}

// A pair of a head each: dimension 0 is the pair, 1 the head, 2 the token. table: [tokens x pairs] cosines and sines.
KERNEL rope(GLOBAL float* x, long x0, int x_stride, int head_size, int offset, int pairs, int is_adjacent, GLOBAL const float* table, int first_row)
{
    int i = GLOBAL_ID(0), head = GLOBAL_ID(1), t = GLOBAL_ID(2);
    if (i >= pairs) return;
    GLOBAL float* values = x + x0 + (long)t * x_stride + (long)head * head_size + offset;
    GLOBAL const float* turn = table + ((long)(first_row + t) * pairs + i) * 2;
    int a = is_adjacent ? 2 * i : i, b = is_adjacent ? 2 * i + 1 : i + pairs;
    float u = values[a], v = values[b];
    values[a] = u * turn[0] - v * turn[1];
    values[b] = u * turn[1] + v * turn[0];
}
