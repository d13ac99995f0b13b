using System.Runtime.CompilerServices;

namespace Nibble.Core.Formats;

/// <summary>4 bytes inside a block struct; converts to a span.</summary>
[InlineArray(4)]
public struct Bytes4
{
    private byte _first;
}

/// <summary>12 bytes inside a block struct; converts to a span.</summary>
[InlineArray(12)]
public struct Bytes12
{
    private byte _first;
}

/// <summary>16 bytes inside a block struct; converts to a span.</summary>
[InlineArray(16)]
public struct Bytes16
{
    private byte _first;
}

/// <summary>32 bytes inside a block struct; converts to a span.</summary>
[InlineArray(32)]
public struct Bytes32
{
    private byte _first;
}

/// <summary>48 bytes inside a block struct; converts to a span.</summary>
[InlineArray(48)]
public struct Bytes48
{
    private byte _first;
}

/// <summary>64 bytes inside a block struct; converts to a span.</summary>
[InlineArray(64)]
public struct Bytes64
{
    private byte _first;
}

/// <summary>128 bytes inside a block struct; converts to a span.</summary>
[InlineArray(128)]
public struct Bytes128
{
    private byte _first;
}

/// <summary>16 signed bytes inside a block struct; converts to a span.</summary>
[InlineArray(16)]
public struct SBytes16
{
    private sbyte _first;
}

/// <summary>32 signed bytes inside a block struct; converts to a span.</summary>
[InlineArray(32)]
public struct SBytes32
{
    private sbyte _first;
}
