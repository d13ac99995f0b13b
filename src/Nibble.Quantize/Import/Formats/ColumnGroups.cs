using System.Runtime.InteropServices;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>Which group each input belongs to (act-order): the order of columns in which groups are runs.</summary>
internal static class ColumnGroups
{
    /// <summary>Reads <c>g_idx</c>.</summary>
    /// <param name="tensor">int32 [columns].</param>
    /// <param name="groups">Groups.</param>
    /// <returns>The column at each place, or null where the groups are runs already.</returns>
    /// <exception cref="ImportException">A group does not exist, or has more or fewer columns than the others.</exception>
    public static int[]? Order(SafetensorsTensor tensor, int groups)
    {
        ReadOnlySpan<int> indices = MemoryMarshal.Cast<byte, int>(tensor.Bytes());
        int size = indices.Length / groups;
        int[] counts = new int[groups];
        bool isTrivial = true;
        for (int i = 0; i < indices.Length; i++)
        {
            if ((uint)indices[i] >= (uint)groups) throw CheckpointFolder.Fault(tensor, $"element {i} is {indices[i]}, and groups are 0 to {groups - 1}");
            counts[indices[i]]++;
            isTrivial &= indices[i] == i / size;
        }

        if (isTrivial) return null;
        int uneven = Array.FindIndex(counts, count => count != size);
        if (uneven >= 0) throw CheckpointFolder.Fault(tensor, $"group {uneven} has {counts[uneven]} inputs, and each must have {size}");
        int[] order = new int[indices.Length], next = new int[groups];
        for (int group = 1; group < groups; group++) next[group] = next[group - 1] + size;
        for (int i = 0; i < indices.Length; i++) order[next[indices[i]]++] = i;
        return order;
    }
}
