// Activations as products of codes take them, if not as float32: a run of 32 columns is INPUT_WORDS words. DOT: 8 words of signed bytes; HALF: 16 words of halves. Then the scale, and the scale times the sum of the first 16 codes and
// that of the others. A value is the scale times its code. Bytes: the scale is the largest magnitude / 127, codes are the nearest. Halves: the scale is the largest magnitude.
// 32 values of which one is NaN or infinite have codes 0 and a scale of NaN; values below 2^-120 count as 0.
#if HALF
#define MOST 1.0f
#else
#define MOST 127.0f
#endif

// Dimension 0 is the run, 1 the token. Where is_paired, of 8 bytes those of even columns come first, as masks leave the codes of 4 bits; else the columns are in order.
KERNEL pack_inputs(GLOBAL const float* x, long x0, int x_stride, int runs, int is_paired, GLOBAL uint* y)
{
    int run = GLOBAL_ID(0), t = GLOBAL_ID(1);
    if (run >= runs) return;
    GLOBAL const float* input = x + x0 + (long)t * x_stride + run * 32;
    GLOBAL uint* output = y + ((long)t * runs + run) * INPUT_WORDS;
    uint largest = 0;
    for (int i = 0; i < 32; i++)
        largest = max(largest, BITS_OF(input[i]) & 0x7fffffffu);
    int is_finite = largest < 0x7f800000u, is_zero = !is_finite || largest < 0x03800000u;
    float magnitude = FLOAT_OF(largest), scale = !is_finite ? FLOAT_OF(0x7fc00000u) : is_zero ? 0.0f : magnitude / MOST, inverse = MOST / magnitude, sums[2];
    for (int part = 0; part < 2; part++)
    {
        float sum = 0;
        for (int unit = part * 2; unit < part * 2 + 2; unit++)
        {
            GLOBAL const float* eight = input + unit * 8;
#if HALF
            for (int i = 0; i < 4; i++)
            {
                uint low = is_zero ? 0u : half_bits(eight[2 * i] * inverse), high = is_zero ? 0u : half_bits(eight[2 * i + 1] * inverse);
                output[unit * 4 + i] = low | (high << 16);
            }

            for (int i = 0; i < 8; i++)
                sum += LOAD_HALF(output + unit * 4, i);
#else
            uint words[2] = {0, 0};
            for (int i = 0; i < 8; i++)
            {
                int code = is_zero ? 0 : (int)rint(eight[i] * inverse);
                words[is_paired ? i & 1 : i >> 2] |= (uint)(code & 255) << (8 * (is_paired ? i >> 1 : i & 3));
                sum += code;
            }

            output[2 * unit] = words[0];
            output[2 * unit + 1] = words[1];
#endif
        }

        sums[part] = sum;
    }

    output[INPUT_WORDS - 4] = BITS_OF(scale);
    output[INPUT_WORDS - 3] = BITS_OF(scale * sums[0]);
    output[INPUT_WORDS - 2] = BITS_OF(scale * sums[1]);
    output[INPUT_WORDS - 1] = 0;
}
