using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Spectre.Console;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble inspect</c>: what is in a GGUF file, and whether it runs.</summary>
internal static class InspectCommand
{
    private const int ShownValueLength = 100;

    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string?> model = ModelArguments.ModelArgument();
        Option<bool> json = new("--json") { Description = "Write JSON." };
        Option<bool> tensors = new("--tensors") { Description = "List the tensors." };
        Option<string?> tensor = new("--tensor") { Description = "Decode one tensor to float32; needs --out." };
        Option<FileInfo?> output = new("--out", "-o") { Description = "The file for --tensor: float32, little-endian, row by row." };
        Command command = new("inspect", "Show metadata, tensors, sizes and what a file needs to run.") { model, json, tensors, tensor, output };
        command.SetAction(parsed =>
        {
            string? name = parsed.GetValue(tensor);
            FileInfo? target = parsed.GetValue(output);
            if (name is null != target is null) throw new UsageException("--tensor NAME and --out FILE go together.");
            if (name is not null && (parsed.GetValue(json) || parsed.GetValue(tensors))) throw new UsageException("--tensor writes a file; leave out --json and --tensors.");
            using GgufFile file = GgufFile.Open(ModelCatalog.Open().Resolve(parsed.GetValue(model)));
            if (name is not null) Decode(file, name, target!);
            else if (parsed.GetValue(json)) WriteJson(file, ModelReport.Of(file), parsed.GetValue(tensors));
            else WriteTables(file, ModelReport.Of(file), parsed.GetValue(tensors));
            return 0;
        });
        Examples.Attach(command, "nibble inspect", "nibble inspect model.gguf --tensors", "nibble inspect model.gguf --tensor blk.0.attn_q.weight --out attn_q.f32");
        return command;
    }

    private static void Decode(GgufFile file, string name, FileInfo target)
    {
        IWeightSource tensor = (IWeightSource?)file.Find(name) ?? file.Weights.Find(name)
            ?? throw new UsageException($"{Path.GetFileName(file.Path)} has no tensor '{name}'; 'nibble inspect {Path.GetFileName(file.Path)} --tensors' lists them.");
        if (file.PartPaths.Contains(target.FullName)) throw new UsageException($"--out names the model itself, '{target.FullName}'; name another file.");
        OutputFile.Write(target.FullName, stream =>
        {
            float[] values = new float[tensor.Columns];
            for (long row = 0; row < tensor.RowCount; row++)
            {
                tensor.CopyRow(row, values);
                stream.Write(MemoryMarshal.AsBytes(values.AsSpan()));
            }
        });
        Terminal.Note($"{tensor} decoded to {target.FullName}");
    }

    private static void WriteTables(GgufFile file, ModelReport report, bool withTensors)
    {
        Table metadata = new Table().AddColumns("key", "type", "value");
        foreach (GgufEntry entry in file.Metadata)
            metadata.AddRow(Markup.Escape(entry.Key), Markup.Escape(TypeName(entry.Value)), Markup.Escape(Shown(entry.Value)));
        Terminal.Output.Write(metadata);

        if (withTensors)
        {
            Table table = new Table().AddColumns("tensor", "format", "shape", "bytes");
            table.Columns[3].RightAligned();
            foreach (GgufTensor tensor in file.Tensors)
                table.AddRow(Markup.Escape(tensor.Name), tensor.Format.Name, string.Join(" x ", tensor.Dimensions), Bytes(tensor.ByteLength));
            Terminal.Output.Write(table);
            WriteEncoded(report);
        }

        Table formats = new Table().AddColumns("format", "tensors", "values", "bytes", "share");
        foreach (int column in (int[])[1, 2, 3, 4])
            formats.Columns[column].RightAligned();
        foreach (IGrouping<BlockFormat, IWeightSource> group in report.Weights.GroupBy(tensor => tensor.Format).OrderByDescending(group => group.Sum(tensor => tensor.ByteLength)))
        {
            long bytes = group.Sum(tensor => tensor.ByteLength);
            formats.AddRow(
                group.Key.Name,
                group.Count().ToString(CultureInfo.InvariantCulture),
                group.Sum(tensor => tensor.RowCount * tensor.Columns).ToString("N0", CultureInfo.InvariantCulture),
                Bytes(bytes),
                (100.0 * bytes / Math.Max(1, report.TensorBytes)).ToString("F1", CultureInfo.InvariantCulture) + " %");
        }

        Terminal.Output.Write(formats);
        Table summary = new Table().AddColumns("what", "value");
        foreach ((string what, string value) in report.Rows())
            summary.AddRow(Markup.Escape(what), Markup.Escape(value));
        Terminal.Output.Write(summary);
    }

    private static void WriteEncoded(ModelReport report)
    {
        if (!report.Weights.OfType<EncodedTensor>().Any()) return;
        Table table = new Table().AddColumns("encoded tensor", "encoding", "bytes", "bits a weight");
        table.Columns[2].RightAligned();
        table.Columns[3].RightAligned();
        foreach (EncodedTensor tensor in report.Weights.OfType<EncodedTensor>())
            table.AddRow(Markup.Escape(tensor.Name), Markup.Escape(tensor.Encoding.ToText()), Bytes(tensor.ByteLength), tensor.Encoding.BitsPerWeight.ToString("F2", CultureInfo.InvariantCulture));
        Terminal.Output.Write(table);
    }

    private static void WriteJson(GgufFile file, ModelReport report, bool withTensors) => JsonOutput.Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("file", Path.GetFileName(file.Path));
        writer.WriteNumber("gguf_version", file.Version);
        writer.WriteNumber("alignment", file.Alignment);
        writer.WriteNumber("parameters", report.Parameters);
        writer.WriteNumber("tensor_bytes", report.TensorBytes);
        writer.WritePropertyName("bits_per_weight");
        writer.WriteFloat(report.BitsPerWeight);
        writer.WriteString("architecture", report.Architecture);
        writer.WriteBoolean("runs", report.Problems.Count == 0);
        writer.WriteStartArray("problems");
        foreach (string problem in report.Problems)
            writer.WriteStringValue(problem);
        writer.WriteEndArray();
        if (report.SessionPositions is { } positions) writer.WriteNumber("session_positions", positions);
        if (report.SessionBytes is { } session) writer.WriteNumber("session_bytes_f16", session);
        if (report.ContextLength is { } context) writer.WriteNumber("context_length", context);
        if (report.WeightCache is { } cache)
        {
            writer.WriteStartObject("weight_cache");
            writer.WriteString("file", Path.GetFileName(cache.Path));
            writer.WriteNumber("bytes", cache.Bytes);
            writer.WriteString("problem", cache.Problem);
            writer.WriteEndObject();
        }

        writer.WriteStartObject("format_bytes");
        foreach (IGrouping<BlockFormat, IWeightSource> group in report.Weights.GroupBy(tensor => tensor.Format))
            writer.WriteNumber(group.Key.Name, group.Sum(tensor => tensor.ByteLength));
        writer.WriteEndObject();
        writer.WriteString("tokenizer", report.Tokenizer);
        writer.WriteString("chat_template", report.ChatTemplate);
        writer.WriteStartObject("metadata");
        foreach (GgufEntry entry in file.Metadata)
        {
            writer.WritePropertyName(entry.Key);
            WriteValue(writer, file, entry);
        }

        writer.WriteEndObject();
        writer.WriteNumber("tensor_count", file.Tensors.Count);
        if (withTensors)
        {
            writer.WriteStartArray("tensors");
            foreach (GgufTensor tensor in file.Tensors)
            {
                writer.WriteStartObject();
                writer.WriteString("name", tensor.Name);
                writer.WriteString("format", tensor.Format.Name);
                writer.WriteStartArray("shape");
                foreach (long dimension in tensor.Dimensions)
                    writer.WriteNumberValue(dimension);
                writer.WriteEndArray();
                writer.WriteNumber("bytes", tensor.ByteLength);
                writer.WriteNumber("offset", tensor.FileOffset);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteStartArray("encoded_tensors");
            foreach (EncodedTensor tensor in report.Weights.OfType<EncodedTensor>())
            {
                writer.WriteStartObject();
                writer.WriteString("name", tensor.Name);
                writer.WriteString("format", tensor.Format.Name);
                writer.WriteString("encoding", tensor.Encoding.ToText());
                writer.WriteStartArray("shape");
                foreach (long dimension in ((IWeightSource)tensor).Dimensions)
                    writer.WriteNumberValue(dimension);
                writer.WriteEndArray();
                writer.WriteNumber("bytes", tensor.ByteLength);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
        }

        writer.WriteEndObject();
    });

    private static void WriteValue(Utf8JsonWriter writer, GgufFile file, GgufEntry entry)
    {
        GgufMetadata metadata = file.Metadata;
        switch (entry.Value.Type)
        {
            case GgufValueType.String:
                writer.WriteStringValue(metadata.GetString(entry.Key));
                break;
            case GgufValueType.Boolean:
                writer.WriteBooleanValue(metadata.GetBoolean(entry.Key));
                break;
            case GgufValueType.Float32 or GgufValueType.Float64:
                // The value's own shortest text: a float32 widened to float64 would show digits that the file does not have.
                string text = entry.Value.ToString();
                if (double.IsFinite(double.Parse(text, CultureInfo.InvariantCulture))) writer.WriteRawValue(text);
                else writer.WriteStringValue(text);
                break;
            case GgufValueType.UInt64:
                writer.WriteNumberValue(metadata.GetUInt64(entry.Key));
                break;
            case GgufValueType.Array:
                // A vocabulary has 100 000 entries: an array is told by its length and element type.
                writer.WriteStartObject();
                writer.WriteString("element_type", entry.Value.ElementType.ToString());
                writer.WriteNumber("count", entry.Value.Count);
                writer.WriteEndObject();
                break;
            default:
                writer.WriteNumberValue(metadata.GetInt64(entry.Key));
                break;
        }
    }

    private static string TypeName(GgufValue value) => value.Type == GgufValueType.Array ? $"{value.ElementType}[{value.Count}]" : value.Type.ToString();

    private static string Shown(GgufValue value)
    {
        string text = value.ToString().ReplaceLineEndings("\\n");
        return text.Length <= ShownValueLength ? text : text[..ShownValueLength] + "...";
    }

    private static string Bytes(long bytes) => bytes.ToString("N0", CultureInfo.InvariantCulture);
}
