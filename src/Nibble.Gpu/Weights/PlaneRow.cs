using System.Runtime.InteropServices;

namespace Nibble.Gpu.Weights;

/// <summary>One row on its way from a file's blocks into planes.</summary>
internal sealed class PlaneRow
{
    private readonly PlaneFormat _format;
    private readonly byte[][] _planes;

    /// <summary>Room for a row.</summary>
    public PlaneRow(PlaneFormat format, int columns)
    {
        _format = format;
        _planes = [.. format.Planes.Select(plane => new byte[plane.Elements(columns) * plane.ElementBytes])];
        Codes = new byte[format.Code is PlaneCode.Bits4 or PlaneCode.Bits5 or PlaneCode.Bits6 ? (columns + 7) / 8 * 8 : 0];
    }

    /// <summary>[columns] codes of 4 to 6 bits, which <see cref="PackCodes"/> puts into the first planes.</summary>
    public byte[] Codes { get; }

    /// <summary>The elements of a plane.</summary>
    public Span<T> Plane<T>(int plane)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(_planes[plane].AsSpan());

    /// <summary>Puts <see cref="Codes"/> into their planes.</summary>
    public void PackCodes()
    {
        if (Codes.Length == 0) return;
        Span<uint> low = Plane<uint>(0);
        for (int unit = 0; unit < low.Length; unit++)
        {
            ReadOnlySpan<byte> codes = Codes.AsSpan(unit * 8, 8);
            uint word = 0, high = 0;
            for (int j = 0; j < 8; j++)
            {
                word |= (uint)(codes[j] & 15) << (4 * j);
                high |= (uint)(codes[j] >> 4) << (_format.Code == PlaneCode.Bits6 ? 2 * j : j);
            }

            low[unit] = word;
            if (_format.Code == PlaneCode.Bits5) _planes[1][unit] = (byte)high;
            else if (_format.Code == PlaneCode.Bits6) Plane<ushort>(1)[unit] = (ushort)high;
        }
    }

    /// <summary>Puts the row beside the others.</summary>
    /// <param name="tile">The tile's first byte.</param>
    /// <param name="starts">Where its planes start.</param>
    /// <param name="row">Row in the tile.</param>
    public unsafe void Scatter(byte* tile, ReadOnlySpan<long> starts, int row)
    {
        for (int plane = 0; plane < _planes.Length; plane++)
        {
            switch (_format.Planes[plane].ElementBytes)
            {
                case 1:
                    Scatter(Plane<byte>(plane), tile + starts[plane] + row);
                    break;
                case 2:
                    Scatter(Plane<ushort>(plane), (ushort*)(tile + starts[plane]) + row);
                    break;
                case 4:
                    Scatter(Plane<uint>(plane), (uint*)(tile + starts[plane]) + row);
                    break;
                default:
                    break;
            }
        }
    }

    private static unsafe void Scatter<T>(ReadOnlySpan<T> elements, T* to)
        where T : unmanaged
    {
        for (int i = 0; i < elements.Length; i++, to += PlaneFormat.TileRows)
            *to = elements[i];
    }
}
