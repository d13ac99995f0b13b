using System.Text.Json.Nodes;

namespace Nibble.Testing;

/// <summary>Damages inputs: bytes as a bad disk or a broken download would, JSON as somebody who means harm would.</summary>
public static class Damage
{
    // Stands for half a surrogate pair, which a JsonNode cannot write.
    private const string Half = "\"HALF-A-PAIR\"";

    private static readonly string[] s_odd =
    [
        "null", "true", "-1", "0", "1", "3", "1e400", "-0.5", "2147483647", "9223372036854775807", "99999999999999999999", "\"\"", "\"x\"", Half, "\"../../x\"", "[]", "{}", "[[]]", "[-1]", "[\"x\"]", "[null]", "[1,2]", "{\"x\":1}",
        "[{}]", "[" + Half + "]",
    ];

    /// <summary>A copy with a few bytes changed, cut off, doubled or taken out.</summary>
    /// <param name="random">What happens.</param>
    /// <param name="bytes">The bytes.</param>
    /// <param name="within">How many at the start are damaged, as far as they are not cut off; 0 for all.</param>
    public static byte[] Bytes(Random random, ReadOnlySpan<byte> bytes, int within = 0)
    {
        int end = within == 0 ? bytes.Length : within, at = random.Next(end), length = random.Next(1, Math.Min(40, end - at) + 1);
        byte[] copy = bytes.ToArray();
        switch (random.Next(6))
        {
            case 0:
                return copy[..random.Next(bytes.Length)];
            case 1:
                return [.. copy.AsSpan(0, at), .. copy.AsSpan(at + length)];
            case 2:
                return [.. copy.AsSpan(0, at + length), .. copy.AsSpan(at)];
            case 3:
                // A number becomes another one, so that the syntax stays.
                int[] digits = [.. Enumerable.Range(0, end).Where(i => char.IsAsciiDigit((char)copy[i]))];
                if (digits.Length > 0) copy[digits[random.Next(digits.Length)]] = (byte)('0' + random.Next(10));
                return copy;
            default:
                for (int i = random.Next(4); i >= 0; i--) copy[random.Next(end)] = random.Next(3) == 0 ? (byte)(0xFF * random.Next(2)) : (byte)random.Next(256);
                return copy;
        }
    }

    /// <summary>JSON with one value replaced by an odd one, taken away, or put in twice.</summary>
    /// <param name="random">What happens.</param>
    /// <param name="json">An object.</param>
    public static string Json(Random random, string json)
    {
        JsonNode root = JsonNode.Parse(json)!, node = root;
        // A way down from the root, so that long lists do not draw everything.
        while (true)
        {
            JsonNode[] children = node is JsonObject map ? [.. map.Select(one => one.Value).OfType<JsonNode>()] : node is JsonArray list ? [.. list.OfType<JsonNode>()] : [];
            JsonNode[] inner = [.. children.Where(child => child is JsonObject or JsonArray)];
            if (inner.Length == 0 || random.Next(3) == 0) break;
            node = inner[random.Next(inner.Length)];
        }

        JsonNode? odd = JsonNode.Parse(s_odd[random.Next(s_odd.Length)]);
        if (node is JsonArray array)
        {
            if (array.Count == 0 || random.Next(3) == 0) array.Add(array.Count > 0 && random.Next(2) == 0 ? array[random.Next(array.Count)]?.DeepClone() : odd);
            else if (random.Next(3) == 0) array.RemoveAt(random.Next(array.Count));
            else array[random.Next(array.Count)] = odd;
        }
        else if (node is JsonObject fields && fields.Count > 0)
        {
            string name = fields.ElementAt(random.Next(fields.Count)).Key;
            if (random.Next(4) == 0) fields.Remove(name);
            else if (random.Next(8) == 0) fields[Half.Trim('"')] = odd;
            else fields[name] = odd;
        }

        return root.ToJsonString().Replace(Half, "\"\\ud800\"", StringComparison.Ordinal);
    }
}
