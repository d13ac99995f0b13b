using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>A vector of bytes of one width beside the float32 lanes that it fills with four bytes each, so that unpacking is written once for all widths.</summary>
/// <typeparam name="TBytes">The vector of bytes.</typeparam>
/// <typeparam name="TVector">The vector of float32.</typeparam>
internal unsafe interface IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>Bytes in a vector; divides 64.</summary>
    static abstract int Count { get; }

    /// <summary>Bytes from any address.</summary>
    static abstract TBytes Load(byte* source);

    /// <summary>Bytes to any address.</summary>
    static abstract void Store(TBytes value, byte* destination);

    /// <summary>value &gt;&gt; shift &amp; mask, byte by byte.</summary>
    static abstract TBytes Bits(TBytes value, int shift, byte mask);

    /// <summary>value &lt;&lt; shift &amp; mask, byte by byte.</summary>
    static abstract TBytes Raise(TBytes value, int shift, byte mask);

    /// <summary>a | b.</summary>
    static abstract TBytes Or(TBytes a, TBytes b);

    /// <summary>A table of 16 as <see cref="LookUp"/> takes it.</summary>
    static abstract TBytes Table(Vector128<byte> values);

    /// <summary>table[value], values below 16.</summary>
    static abstract TBytes LookUp(TBytes table, TBytes value);

    /// <summary>32-bit numbers of signed bytes, a lane one.</summary>
    static abstract TBytes Wide(sbyte* source);

    /// <summary>32-bit numbers of unsigned bytes, a lane one.</summary>
    static abstract TBytes Wide(byte* source);

    /// <summary>The low 16 bits of each 32-bit lane of low and, above them, those of high.</summary>
    static abstract TBytes Pair(TBytes low, TBytes high);

    /// <summary>16-bit products of each lane's low 16 bits; the others are undefined.</summary>
    static abstract TBytes Times(TBytes value, short factor);

    /// <summary>2^-112 times halves, each lane one: their bits, moved to where float32 has its own. Not for subnormal ones, infinity and NaN.</summary>
    static abstract TVector Halves(byte* source);

    /// <summary>value &lt;&lt; shift of each 32-bit lane.</summary>
    static abstract TBytes Left32(TBytes value, int shift);

    /// <summary>value &gt;&gt; shift of each 32-bit lane, with copies of its sign above.</summary>
    static abstract TBytes Right32(TBytes value, int shift);

    /// <summary>value &amp; mask of each 32-bit lane.</summary>
    static abstract TBytes And32(TBytes value, uint mask);

    /// <summary>The same bits as float32.</summary>
    static abstract TVector AsFloat(TBytes value);

    /// <summary>2^(e - 128) of bytes e, each lane one: half of an E8M0 scale.</summary>
    static abstract TVector HalfPowersOfTwo(byte* source);

    /// <summary>float32 of unsigned bytes, each lane one.</summary>
    static abstract TVector Unsigned(byte* source);

    /// <summary>float32 of signed bytes, each lane one.</summary>
    static abstract TVector Signed(byte* source);

    /// <summary>Whether <see cref="Dot"/> is one instruction.</summary>
    static abstract bool HasDot { get; }

    /// <summary>Codes of <see cref="CodeKind.Bytes"/> as <see cref="Dot"/> takes them.</summary>
    static abstract TBytes Centre(TBytes codes);

    /// <summary>What sums of dots of such codes begin with: -128 times the sum of the other factors, of which -8 times is at the address, or zero where <see cref="Centre"/> took 128 away.</summary>
    static abstract TBytes Offset(byte* source);

    /// <summary>Zero.</summary>
    static abstract TBytes Zero { get; }

    /// <summary>The same 32 bits in every lane.</summary>
    static abstract TBytes Repeat(byte* source);

    /// <summary>The same 16-bit number in every lane.</summary>
    static abstract TBytes Repeat(short value);

    /// <summary>Sums of two products of unsigned and signed bytes, 16 bits each; saturating.</summary>
    static abstract TBytes PairProducts(TBytes unsigned, TBytes signed);

    /// <summary>Sums of two products of 16-bit numbers, 32 bits each.</summary>
    static abstract TBytes PairProducts16(TBytes a, TBytes b);

    /// <summary>sum and, in each 32-bit lane, four products of unsigned bytes, below 128 unless they are of <see cref="Centre"/>, and signed ones; exact.</summary>
    static abstract TBytes Dot(TBytes sum, TBytes unsigned, TBytes signed);

    /// <summary>Whether <see cref="AddWide"/> sums the dots of two vectors at once.</summary>
    static virtual bool HasWideSums => false;

    /// <summary>results[row] += dots x scale x token's scale, plus minimum x sum of the token, of the rows of two vectors; each product of dots and each of a minimum is added with one rounding.</summary>
    /// <param name="low">Dots of the first rows.</param>
    /// <param name="high">Dots of as many others.</param>
    /// <param name="scales">A scale a row.</param>
    /// <param name="minima">A minimum a row, or null.</param>
    /// <param name="tokenScale">The token's scale.</param>
    /// <param name="tokenSum">What the minima are multiplied by.</param>
    /// <param name="results">A sum a row.</param>
    static virtual void AddWide(TBytes low, TBytes high, float* scales, float* minima, float tokenScale, float tokenSum, float* results) => throw new NotSupportedException();

    /// <summary>Sums of 16 bits.</summary>
    static abstract TBytes Add16(TBytes a, TBytes b);

    /// <summary>Sums of 32 bits.</summary>
    static abstract TBytes Add32(TBytes a, TBytes b);

    /// <summary>float32 of 32-bit numbers.</summary>
    static abstract TVector ToFloat(TBytes value);

    /// <summary>Lanes from any address.</summary>
    static abstract TVector Load(float* source);

    /// <summary>a b + c with one rounding.</summary>
    static abstract TVector MultiplyAdd(TVector a, TVector b, TVector c);

    /// <summary>The sum, lane by lane.</summary>
    static abstract TVector Add(TVector a, TVector b);

    /// <summary>The product, lane by lane.</summary>
    static abstract TVector Multiply(TVector a, TVector b);

    /// <summary>One number in every lane.</summary>
    static abstract TVector Broadcast(float value);

    /// <summary>Lanes to any address.</summary>
    static abstract void Store(TVector value, float* destination);
}
