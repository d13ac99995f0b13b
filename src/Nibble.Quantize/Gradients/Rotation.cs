using Nibble.Core.Compute;

namespace Nibble.Quantize.Gradients;

/// <summary>RoPE of all positions of a chunk, and its gradient: the same turn backwards.</summary>
internal sealed class Rotation
{
    private readonly RopeTable _table;
    private readonly float[] _cosine;
    private readonly float[] _sine;

    /// <summary>Computes the angles.</summary>
    /// <param name="table">The rotation.</param>
    /// <param name="positions">Positions from 0 on.</param>
    public Rotation(RopeTable table, int positions)
    {
        _table = table;
        _cosine = new float[positions * table.Pairs];
        _sine = new float[positions * table.Pairs];
        for (int p = 0; p < positions; p++)
            table.Rotation(p, _cosine.AsSpan(p * table.Pairs, table.Pairs), _sine.AsSpan(p * table.Pairs, table.Pairs));
    }

    /// <summary>Turns heads in place.</summary>
    /// <param name="x">[positions x heads of size].</param>
    /// <param name="headSize">Values of a head.</param>
    /// <param name="isBackward">Whether it is turned backwards.</param>
    public void Apply(Matrix x, int headSize, bool isBackward)
    {
        int pairs = _table.Pairs;
        float sign = isBackward ? -1 : 1;
        for (int t = 0; t < x.Rows; t++)
        {
            ReadOnlySpan<float> cosine = _cosine.AsSpan(t * pairs, pairs), sine = _sine.AsSpan(t * pairs, pairs);
            for (int start = 0; start < x.Columns; start += headSize)
            {
                Span<float> head = x.Row(t).Slice(start, headSize)[_table.Offset..];
                for (int i = 0; i < pairs; i++)
                {
                    (int a, int b) = _table.Pairing == RopePairing.Adjacent ? (2 * i, (2 * i) + 1) : (i, i + pairs);
                    float s = sign * sine[i];
                    (head[a], head[b]) = ((head[a] * cosine[i]) - (head[b] * s), (head[a] * s) + (head[b] * cosine[i]));
                }
            }
        }
    }
}
