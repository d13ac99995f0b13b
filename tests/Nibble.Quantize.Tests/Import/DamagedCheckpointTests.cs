using System.Text;
using Nibble.Core.Safetensors;
using Nibble.Quantize.Import;

namespace Nibble.Quantize.Tests.Import;

/// <summary>Folders with damaged files are imported or refused by the documented exceptions, and leave nothing behind.</summary>
public class DamagedCheckpointTests
{
    private const int Files = 100;

    [Fact]
    public void Safetensors_that_are_damaged_are_read_or_refused()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Write();
        Check(folder, "model.safetensors", (random, bytes) => Damage.Bytes(random, bytes, 8 + (int)BitConverter.ToInt64(bytes)), 1);
    }

    [Theory]
    [InlineData("bnb-nf4-double")]
    [InlineData("gptq-v1-actorder")]
    [InlineData("hqq-4bit")]
    [InlineData("ct-asym")]
    public void Quantized_safetensors_that_are_damaged_are_read_or_refused(string name)
    {
        using HfFolder folder = HfFolder.CopyOf(Fixtures.Shared("fixtures", "checkpoints", name));
        folder.Write();
        Check(folder, "model.safetensors", (random, bytes) => random.Next(4) == 0 ? Damage.Bytes(random, bytes) : Damage.Bytes(random, bytes, 8 + (int)BitConverter.ToInt64(bytes)), 2);
        Check(folder, "config.json", (random, bytes) => Encoding.UTF8.GetBytes(Damage.Json(random, Encoding.UTF8.GetString(bytes))), 3);
    }

    [Theory]
    [InlineData("config.json")]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer_config.json")]
    [InlineData("generation_config.json")]
    [InlineData("model.safetensors.index.json")]
    public void JSON_that_is_damaged_is_read_or_refused(string file)
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.WriteShards(2);
        folder.WriteText("tokenizer_config.json", """{"add_bos_token":true,"bos_token":{"content":"tok_260","special":true},"eos_token":"tok_261","added_tokens_decoder":{"260":{"content":"tok_260","special":true}},"chat_template":[{"name":"default","template":"{{ messages }}"}]}""");
        folder.WriteText("generation_config.json", """{"eos_token_id":[7,8],"bos_token_id":5,"temperature":0.6,"top_k":40,"top_p":0.9,"pad_token_id":3}""");
        string tokenizer = File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json"));
        folder.WriteText("tokenizer.json", tokenizer.Replace("\"merges\":[]", "\"merges\":[[\"a\",\"b\"]]", StringComparison.Ordinal).Replace("\"tok_299\"", "\"ab\"", StringComparison.Ordinal).Replace(
            "\"added_tokens\":[]", "\"added_tokens\":[{\"id\":260,\"content\":\"tok_260\",\"special\":true}],\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"tok_260\"}},{\"Sequence\":{\"id\":\"A\"}}]}", StringComparison.Ordinal));
        int odd = Check(folder, file, (random, bytes) => Encoding.UTF8.GetBytes(Damage.Json(random, Encoding.UTF8.GetString(bytes))), 4);
        Check(folder, file, (random, bytes) => Damage.Bytes(random, bytes), 5);
        Assert.InRange(odd, 1, Files);
    }

    // Gives how many were imported.
    private static int Check(HfFolder folder, string file, Func<Random, byte[], byte[]> damage, int seed)
    {
        Random random = new(seed);
        string path = Path.Combine(folder.Path, file), output = folder.Output;
        byte[] whole = File.ReadAllBytes(path);
        string[] before = [.. Directory.GetFileSystemEntries(folder.Path).Order(StringComparer.Ordinal)];
        int imported = 0;
        for (int i = 0; i < Files; i++)
        {
            byte[] damaged = damage(random, whole);
            File.WriteAllBytes(path, damaged);
            try
            {
                using ModelImport import = ModelImport.Open(folder.Path);
                import.Write(output);
                imported++;
                Assert.True(File.Exists(output));
                File.Delete(output);
            }
            catch (Exception error) when (error is ImportException or SafetensorsException)
            {
                // As documented.
            }
            catch (Exception error)
            {
                Assert.Fail($"seed {seed}, file {i}: {error}\n{Encoding.UTF8.GetString(damaged.AsSpan(0, Math.Min(damaged.Length, 3000)))}");
            }

            Assert.Equal(before, Directory.GetFileSystemEntries(folder.Path).Order(StringComparer.Ordinal));
        }

        File.WriteAllBytes(path, whole);
        return imported;
    }
}
