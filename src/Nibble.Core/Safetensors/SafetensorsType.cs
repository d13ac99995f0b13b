namespace Nibble.Core.Safetensors;

/// <summary>The type of a tensor's values, by the names that files use.</summary>
public enum SafetensorsType
{
    /// <summary>BOOL: a byte, 0 or 1.</summary>
    Bool,

    /// <summary>U8.</summary>
    U8,

    /// <summary>I8.</summary>
    I8,

    /// <summary>F8_E4M3: the variant without infinities.</summary>
    F8E4M3,

    /// <summary>F8_E5M2.</summary>
    F8E5M2,

    /// <summary>F8_E8M0: an exponent.</summary>
    F8E8M0,

    /// <summary>I16.</summary>
    I16,

    /// <summary>U16.</summary>
    U16,

    /// <summary>F16: IEEE 754 binary16.</summary>
    F16,

    /// <summary>BF16: the upper half of a float32.</summary>
    BF16,

    /// <summary>I32.</summary>
    I32,

    /// <summary>U32.</summary>
    U32,

    /// <summary>F32.</summary>
    F32,

    /// <summary>I64.</summary>
    I64,

    /// <summary>U64.</summary>
    U64,

    /// <summary>F64.</summary>
    F64,
}

/// <summary>Names and sizes of the types.</summary>
public static class SafetensorsTypes
{
    private static readonly (string Name, SafetensorsType Type, int Bytes)[] s_lines =
    [
        ("BOOL", SafetensorsType.Bool, 1),
        ("U8", SafetensorsType.U8, 1),
        ("I8", SafetensorsType.I8, 1),
        ("F8_E4M3", SafetensorsType.F8E4M3, 1),
        ("F8_E5M2", SafetensorsType.F8E5M2, 1),
        ("F8_E8M0", SafetensorsType.F8E8M0, 1),
        ("I16", SafetensorsType.I16, 2),
        ("U16", SafetensorsType.U16, 2),
        ("F16", SafetensorsType.F16, 2),
        ("BF16", SafetensorsType.BF16, 2),
        ("I32", SafetensorsType.I32, 4),
        ("U32", SafetensorsType.U32, 4),
        ("F32", SafetensorsType.F32, 4),
        ("I64", SafetensorsType.I64, 8),
        ("U64", SafetensorsType.U64, 8),
        ("F64", SafetensorsType.F64, 8),
    ];

    /// <summary>The names, in the order of the enum.</summary>
    public static IEnumerable<string> Names => s_lines.Select(line => line.Name);

    /// <summary>The type of a name, or null.</summary>
    public static SafetensorsType? Find(string name)
    {
        foreach ((string known, SafetensorsType type, _) in s_lines)
            if (known == name) return type;
        return null;
    }

    /// <summary>The name in files.</summary>
    public static string Name(this SafetensorsType type) => s_lines[(int)type].Name;

    /// <summary>Bytes of a value.</summary>
    public static int Bytes(this SafetensorsType type) => s_lines[(int)type].Bytes;
}
