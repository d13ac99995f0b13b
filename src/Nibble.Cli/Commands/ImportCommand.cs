using System.CommandLine;
using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Quantize.Import;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble import</c>: a Hugging Face folder as a GGUF file.</summary>
internal static class ImportCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<DirectoryInfo> folder = new("folder") { Description = "The Hugging Face folder: config.json, safetensors, tokenizer.json or tokenizer.model." };
        Argument<FileInfo> output = new("out") { Description = "The GGUF file to write; an existing one is replaced." };
        Option<string?> name = new("--name") { Description = "The model's name in the file; without it the folder's." };
        Option<bool> json = new("--json") { Description = "What was done, as JSON." };
        Command command = new("import", "Turn a Hugging Face folder into a GGUF file.") { folder, output, name, json };
        command.SetAction((parsed, _) =>
        {
            string path = NamedFiles.Output(parsed.GetValue(output), "<out>")!.FullName;
            using Interruption interruption = new();
            using ModelImport import = ModelImport.Open(parsed.GetValue(folder)!.FullName, parsed.GetValue(name));
            Terminal.Progress($"Writing {Path.GetFileName(path)}", report =>
            {
                import.Write(path, report, interruption.Token);
                return true;
            });
            IReadOnlyList<string> problems = Problems(path);
            foreach (string problem in problems) Terminal.Warning($"Nibble cannot run the file: {problem}");
            if (parsed.GetValue(json)) WriteJson(import, path, problems);
            else WriteText(import, path);
            return Task.FromResult(0);
        });
        Examples.Attach(command, "nibble import SmolLM2-135M-Instruct smollm2.gguf", "nibble import Qwen3-4B-AWQ qwen3-4b-awq.gguf --json");
        return command;
    }

    private static IReadOnlyList<string> Problems(string path)
    {
        using GgufFile file = GgufFile.Open(path);
        using ReferenceBackend backend = new();
        return ModelSurvey.Problems(file, backend);
    }

    private static void WriteText(ModelImport import, string path)
    {
        Terminal.Note($"{import.Name}: architecture {import.Architecture}");
        Terminal.Note($"weights: {import.Rule}");
        foreach (string note in import.Notes) Terminal.Note(note);
        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"{import.TensorCount} tensors, {import.TensorBytes / 1e6:F1} MB (the checkpoint: {import.SourceBytes / 1e6:F1} MB in {import.FileCount} file{(import.FileCount == 1 ? "" : "s")}) written to {path}"));
    }

    private static void WriteJson(ModelImport import, string path, IReadOnlyList<string> problems) => JsonOutput.Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("out", path);
        writer.WriteString("name", import.Name);
        writer.WriteString("architecture", import.Architecture);
        writer.WriteString("rule", import.Rule);
        writer.WriteNumber("tensors", import.TensorCount);
        writer.WriteNumber("tensor_bytes", import.TensorBytes);
        writer.WriteNumber("source_bytes", import.SourceBytes);
        writer.WriteNumber("source_files", import.FileCount);
        Texts("notes", import.Notes);
        Texts("problems", problems);
        writer.WriteEndObject();

        void Texts(string field, IEnumerable<string> texts)
        {
            writer.WriteStartArray(field);
            foreach (string text in texts) writer.WriteStringValue(text);
            writer.WriteEndArray();
        }
    });
}
