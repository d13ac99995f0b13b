namespace Nibble.Llm.Models;

/// <summary>Which layers have a sliding window, and how long it is.</summary>
/// <remarks>Keys: llama.cpp v0.5.0, load_swa_pattern: an array of flags, or a period whose last layer (or first) sees everything.</remarks>
/// <param name="Length">Positions that a token of such a layer sees, its own included; 0 where no layer has a window.</param>
/// <param name="Flags">A flag a layer.</param>
internal sealed record Windows(int Length, bool[] Flags)
{
    /// <summary>Reads them.</summary>
    /// <param name="reader">The file.</param>
    /// <param name="layers">Layers.</param>
    /// <param name="period">Layers of a group, where the file names no pattern; 0 for all layers sliding.</param>
    /// <param name="fallback">Length where the file names none; null where it must. Only a fallback of 0 allows a length of 0.</param>
    /// <param name="isFirstDense">Whether a group's first layer sees everything instead of its last.</param>
    /// <param name="hasOwnSizes">Whether the architecture knows heads and rotations of these layers' own size; else a file that has them is refused.</param>
    public static Windows Read(ModelReader reader, int layers, int period, int? fallback = 0, bool isFirstDense = false, bool hasOwnSizes = false)
    {
        int length = reader.Integer("attention.sliding_window", fallback == 0 ? 0 : 1, int.MaxValue, fallback);
        if (length == 0) return new Windows(0, new bool[layers]);
        if (!hasOwnSizes) RefuseOwnSizes(reader);
        return new Windows(length, reader.FindPerLayerFlags("attention.sliding_window_pattern", layers)
            ?? Periodic(layers, reader.Integer("attention.sliding_window_pattern", 0, 1024, period), isFirstDense));
    }

    /// <summary>Refuses a file whose layers with a window have heads or rotations of another size than the others.</summary>
    /// <param name="reader">The file.</param>
    public static void RefuseOwnSizes(ModelReader reader)
    {
        foreach (string key in (ReadOnlySpan<string>)["attention.key_length", "attention.value_length", "rope.dimension_count"])
        {
            string own = key + "_swa";
            if (reader.HasKey(own) && (!reader.HasKey(key) || reader.Integer(own, 0, int.MaxValue) != reader.Integer(key, 0, int.MaxValue)))
                throw reader.Error(own, $"{own} differs from {key}; in {reader.Architecture} all layers must have heads and rotations of one size.");
        }
    }

    /// <summary>Every layer of a group but one.</summary>
    /// <param name="layers">Layers.</param>
    /// <param name="period">Layers of a group; 0 for all layers sliding.</param>
    /// <param name="isFirstDense">Whether a group's first layer sees everything instead of its last.</param>
    public static bool[] Periodic(int layers, int period, bool isFirstDense = false)
    {
        bool[] flags = new bool[layers];
        for (int i = 0; i < layers; i++)
            flags[i] = period == 0 || (isFirstDense ? i % period != 0 : i % period < period - 1);
        return flags;
    }

    /// <summary>Whether a layer has the window.</summary>
    /// <param name="layer">Layer.</param>
    public bool IsSliding(int layer) => Length > 0 && Flags[layer];
}
