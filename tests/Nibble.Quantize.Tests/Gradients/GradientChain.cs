using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Gradients;

namespace Nibble.Quantize.Tests.Gradients;

/// <summary>All layers of a specimen side by side, so that weights can be changed and every gradient looked at.</summary>
internal sealed unsafe class GradientChain : IDisposable
{
    private readonly TempFolder _folder = new();

    public GradientChain(Specimen specimen)
    {
        string path = _folder.File("specimen.gguf");
        SpecimenFile.Describe(specimen).Write(path, Specimen.Seed);
        Model = LanguageModel.Load(GgufFile.Open(path), new ReferenceBackend());
        Assert.True(PlainDecoder.TryDescribe(Model, Specimen.Context, out PlainDecoder? decoder, out string? refusal), refusal);
        Decoder = decoder;
        Layers = [.. Decoder.Layers.Select(layer => new LayerGradient(layer, Model.File, Specimen.Prompt.Length))];
        Spaces = [.. Decoder.Layers.Select(layer => new LayerWorkspace(layer, Specimen.Prompt.Length))];
        Head = new HeadGradient(Decoder, Model.File);
    }

    public LanguageModel Model { get; }

    public PlainDecoder Decoder { get; }

    public List<LayerGradient> Layers { get; }

    public List<LayerWorkspace> Spaces { get; }

    public HeadGradient Head { get; }

    /// <summary>[tokens x width] what the output matrix read last.</summary>
    public float[] Hidden { get; private set; } = [];

    /// <summary>[vocabulary] sums of p (1 - p) of the last run.</summary>
    public double[] Spread { get; private set; } = [];

    public float[] Embed(ReadOnlySpan<int> chunk)
    {
        GgufTensor table = Model.File.Find("token_embd.weight")!;
        float[] state = new float[chunk.Length * Decoder.Width];
        for (int t = 0; t < chunk.Length; t++)
            table.Format.Decode(table.Row(chunk[t]), state.AsSpan(t * Decoder.Width, Decoder.Width));
        return [.. state.Select(value => value * Decoder.EmbeddingScale)];
    }

    /// <summary>The loss of given next tokens, and its gradient at the state that the first layer reads; without them that of random signs.</summary>
    public (double Loss, float[] Gradient) Run(float[] embedded, int[] labels, RandomSource source)
    {
        float[] state = [.. embedded];
        for (int layer = 0; layer < Layers.Count; layer++)
        {
            Layers[layer].Forward(Spaces[layer], state);
            state = Spaces[layer].State.Span.ToArray();
        }

        Hidden = new float[state.Length];
        Spread = new double[Head.Output.Rows];
        double loss;
        fixed (float* values = state, hidden = Hidden)
            loss = Head.Run(new Matrix(values, state.Length / Decoder.Width, Decoder.Width), source, labels, new Matrix(hidden, state.Length / Decoder.Width, Decoder.Width), Spread);
        for (int layer = Layers.Count - 1; layer >= 0; layer--)
            Layers[layer].Backward(Spaces[layer], state);
        return (loss, state);
    }

    /// <summary>The same loss from the model's own forward pass.</summary>
    public double ModelLoss(int[] chunk, int[] labels)
    {
        double loss = 0;
        using Session session = Model.NewSession(new SessionOptions { Context = Specimen.Context, KvFormat = BlockFormats.F32 });
        session.Evaluate(chunk, 0, (position, logits) => loss += Evaluation(logits, labels[position]), TestContext.Current.CancellationToken);
        return loss;
    }

    /// <summary>The linear layers of a layer with what they read and the gradients at their outputs.</summary>
    public (LinearGradient Linear, Matrix Input, Matrix Gradient)[] Linears(int layer)
    {
        LayerGradient gradient = Layers[layer];
        LayerWorkspace space = Spaces[layer];
        return
        [
            (gradient.Query, space.AttentionInput, space.QueryGradient), (gradient.Key, space.AttentionInput, space.KeyGradient), (gradient.Value, space.AttentionInput, space.ValueGradient),
            (gradient.Output, space.Attended, space.AttentionOutputGradient), (gradient.Gate, space.FeedForwardInput, space.GateGradient), (gradient.Up, space.FeedForwardInput, space.UpGradient),
            (gradient.Down, space.Inner, space.FeedForwardOutputGradient),
        ];
    }

    public void Dispose()
    {
        Layers.ForEach(layer => layer.Dispose());
        Spaces.ForEach(space => space.Dispose());
        Head.Dispose();
        Model.Dispose();
        _folder.Dispose();
    }

    private static double Evaluation(ReadOnlySpan<float> logits, int label)
    {
        double highest = double.NegativeInfinity, sum = 0;
        foreach (float logit in logits)
            highest = Math.Max(highest, logit);
        foreach (float logit in logits)
            sum += Math.Exp(logit - highest);
        return highest + Math.Log(sum) - logits[label];
    }
}
