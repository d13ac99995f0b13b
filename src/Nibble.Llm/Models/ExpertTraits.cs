using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>How a layer's mixture of experts differs from the plainest one: gated SiLU networks, softmax over all experts.</summary>
internal sealed record ExpertTraits
{
    /// <summary>Hidden width of an expert; null for the layer's network.</summary>
    public int? Hidden { get; init; }

    /// <summary>The activation.</summary>
    public Activation Activation { get; init; } = Activation.Silu;

    /// <summary>Whether experts have a gate.</summary>
    public bool HasGate { get; init; } = true;

    /// <summary>What the router's logits become.</summary>
    public GatingFunction Gating { get; init; }

    /// <summary>Whether the chosen weights are divided by their sum.</summary>
    public bool Normalize { get; init; }

    /// <summary>What the chosen weights are multiplied by.</summary>
    public float Scale { get; init; } = 1;

    /// <summary>Biases of the experts' matrices.</summary>
    public Presence Bias { get; init; }

    /// <summary>Bias of the router.</summary>
    public Presence RouterBias { get; init; }

    /// <summary>Norm of what the router reads; null for what the experts read.</summary>
    public Norm? RouterNorm { get; init; }

    /// <summary>What the router's logits are multiplied by.</summary>
    public float RouterScale { get; init; } = 1;

    /// <summary>Norm of what the experts read, where the network is given the state itself.</summary>
    public Norm? InputNorm { get; init; }

    /// <summary>Bias of the choice.</summary>
    public Presence SelectionBias { get; init; }

    /// <summary>The part of its name after <c>blk.N.</c>.</summary>
    public string SelectionBiasName { get; init; } = "exp_probs_b.bias";

    /// <summary>Whether the router reads what the layer was given.</summary>
    public bool IsRoutedEarly { get; init; }

    /// <summary>Whether the weights multiply the experts' inputs.</summary>
    public bool IsInputWeighted { get; init; }

    /// <summary>Values of what the experts read and give, where <c>ffn_latent_down</c> and <c>ffn_latent_up</c> stand around them; 0 for the state's.</summary>
    public int LatentSize { get; init; }

    /// <summary>The network of every token, or null.</summary>
    public FeedForward? Shared { get; init; }

    /// <summary>What the sum of the experts and that network is multiplied by.</summary>
    public float SumScale { get; init; } = 1;

    /// <summary>Whether <c>ffn_gate_inp_shexp</c> weighs it.</summary>
    public bool HasSharedGate { get; init; }
}
