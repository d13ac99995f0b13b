using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Tests.Import;

/// <summary>A Hugging Face folder that a test makes: a configuration, tensors in safetensors files, a tokenizer.</summary>
internal sealed class HfFolder : IDisposable
{
    private readonly TempFolder _folder = new();

    /// <summary>A tensor to be written.</summary>
    public sealed record Tensor(SafetensorsType Type, long[] Shape, byte[] Bytes);

    /// <summary>The configuration.</summary>
    public JsonObject Config { get; set; } = [];

    /// <summary>The tensors by name.</summary>
    public Dictionary<string, Tensor> Tensors { get; } = [];

    /// <summary>The folder.</summary>
    public string Path => _folder.Root;

    /// <summary>Where a test may write.</summary>
    public string Output => _folder.File("out.gguf");

    /// <summary>A copy of a folder of fixtures, its tensors and configuration ready to be changed.</summary>
    public static HfFolder CopyOf(string source)
    {
        HfFolder folder = new() { Config = JsonNode.Parse(File.ReadAllText(System.IO.Path.Combine(source, "config.json")))!.AsObject() };
        foreach (string file in Directory.GetFiles(source, "model*.safetensors"))
        {
            using SafetensorsFile tensors = SafetensorsFile.Open(file);
            foreach (SafetensorsTensor tensor in tensors.Tensors) folder.Tensors.Add(tensor.Name, new Tensor(tensor.Type, [.. tensor.Shape], tensor.Bytes().ToArray()));
        }

        foreach (string name in (string[])["tokenizer.json", "tokenizer_config.json", "generation_config.json", "quantize_config.json"])
            if (File.Exists(System.IO.Path.Combine(source, name))) File.Copy(System.IO.Path.Combine(source, name), folder._folder.File(name));
        return folder;
    }

    /// <summary>Sets a tensor of floats.</summary>
    public void Set(string name, long[] shape, float[] values) => Tensors[name] = new Tensor(SafetensorsType.F32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    /// <summary>Writes a text file.</summary>
    public void WriteText(string name, string text) => File.WriteAllText(_folder.File(name), text);

    /// <summary>Writes a file.</summary>
    public void WriteBytes(string name, ReadOnlySpan<byte> bytes) => _folder.Write(name, bytes);

    /// <summary>Writes a byte-level tokenizer whose tokens are the bytes and then names that nothing merges into.</summary>
    public void WriteByteTokenizer(int tokens)
    {
        JsonObject vocabulary = [];
        // Printable characters are themselves in GPT-2's alphabet; the others follow from 256 on.
        int next = 256;
        for (int value = 0; value < 256 && value < tokens; value++)
        {
            bool isPrintable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            vocabulary[((char)(isPrintable ? value : next++)).ToString()] = value;
        }

        for (int id = 256; id < tokens; id++) vocabulary[$"tok_{id}"] = id;
        WriteText("tokenizer.json", new JsonObject
        {
            ["added_tokens"] = new JsonArray(),
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = true },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        }.ToJsonString());
    }

    /// <summary>Writes configuration and tensors into one file.</summary>
    public void Write()
    {
        WriteText("config.json", Config.ToJsonString());
        WriteBytes("model.safetensors", Bytes(Tensors));
    }

    /// <summary>Writes configuration, and tensors into shards with an index.</summary>
    public void WriteShards(int count)
    {
        WriteText("config.json", Config.ToJsonString());
        JsonObject map = [];
        List<Dictionary<string, Tensor>> shards = [.. Enumerable.Range(0, count).Select(_ => new Dictionary<string, Tensor>())];
        foreach ((string name, Tensor tensor) in Tensors)
        {
            int shard = map.Count % count;
            map[name] = $"model-{shard}.safetensors";
            shards[shard].Add(name, tensor);
        }

        for (int i = 0; i < count; i++) WriteBytes($"model-{i}.safetensors", Bytes(shards[i]));
        WriteText("model.safetensors.index.json", new JsonObject { ["weight_map"] = map }.ToJsonString());
    }

    /// <summary>The bytes of a safetensors file.</summary>
    public static byte[] Bytes(Dictionary<string, Tensor> tensors)
    {
        JsonObject header = [];
        long offset = 0;
        foreach ((string name, Tensor tensor) in tensors)
        {
            header[name] = new JsonObject
            {
                ["dtype"] = tensor.Type.Name(),
                ["shape"] = JsonSerializer.SerializeToNode(tensor.Shape),
                ["data_offsets"] = JsonSerializer.SerializeToNode(new[] { offset, offset + tensor.Bytes.Length }),
            };
            offset += tensor.Bytes.Length;
        }

        byte[] json = System.Text.Encoding.UTF8.GetBytes(header.ToJsonString());
        byte[] length = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        using MemoryStream stream = new();
        stream.Write(length);
        stream.Write(json);
        foreach (Tensor tensor in tensors.Values) stream.Write(tensor.Bytes);
        return stream.ToArray();
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}
