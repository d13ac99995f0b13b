using System.Runtime.InteropServices;
using Nibble.Testing;
using Oracles;

// Computes tests/golden/architectures/*.logits.f32 with libllama. Nibble writes the models, and computes nothing.
if (args.Length < 2)
{
    Console.Error.WriteLine("usage: ArchitectureGoldens LIBRARY_FOLDER OUTPUT_FOLDER [SPECIMEN ...]");
    return 2;
}

LlamaModel.LoadLibraries(args[0]);
Directory.CreateDirectory(args[1]);
using TempFolder folder = new();
foreach (Specimen specimen in Specimens.All.Where(specimen => args.Length == 2 || args.AsSpan(2).Contains(specimen.Name)))
{
    string path = folder.File(specimen.Name + ".gguf");
    SpecimenFile.Describe(specimen).Write(path, Specimen.Seed);
    Console.Write($"{specimen.Name} ");
    using LlamaModel model = new(path);
    using LlamaContext context = model.NewContext(Specimen.Context, Specimen.Prompt.Length);
    context.Decode(Specimen.Prompt);
    using FileStream golden = File.Create(Path.Combine(args[1], specimen.Name + ".logits.f32"));
    foreach (int position in Specimen.Positions)
        golden.Write(MemoryMarshal.AsBytes(context.Logits(position)));
    Console.WriteLine($"{golden.Length} bytes");
    File.Delete(path);
}

return 0;
