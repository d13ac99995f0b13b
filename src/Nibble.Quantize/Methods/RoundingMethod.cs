using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>A way of choosing codes and scales. It keeps nothing between matrices that changes its result, so that each matrix's bytes depend on its task alone.</summary>
public abstract class RoundingMethod
{
    /// <summary>The method and its settings, as a recipe has them: equal texts give equal bytes for equal tasks. <see cref="RoundingMethods.Find"/> reads them.</summary>
    public abstract string Name { get; }

    /// <summary>All that a matrix's bytes follow from beside its task: the name, and what a method was given that does not stand there.</summary>
    public virtual string Identity => Name;

    /// <summary>What it needs of activations; null where it needs none.</summary>
    public virtual StatisticKinds? Needs => null;

    /// <summary>Whether it can make a target.</summary>
    /// <param name="target">The target.</param>
    public abstract bool Supports(TensorTarget target);

    /// <summary>Rounds a matrix, on as many threads as <see cref="Work"/> allows.</summary>
    /// <param name="task">The matrix, with statistics where <see cref="Needs"/> asks for them.</param>
    /// <param name="cancellation">Stops between groups of rows or columns.</param>
    /// <exception cref="HessianException">The statistics cannot be used.</exception>
    /// <exception cref="ArgumentException">The method does not make this target, or something that it needs is missing.</exception>
    public abstract RoundedMatrix Round(RoundingTask task, CancellationToken cancellation);

    /// <inheritdoc/>
    public sealed override string ToString() => Name;

    /// <summary>The error of a target that a method does not make.</summary>
    /// <param name="task">The task.</param>
    private protected ArgumentException NoTarget(RoundingTask task) => new($"tensor '{task.Name}' is to become {task.Target}, which {Name} does not make.", nameof(task));
}

/// <summary>Methods by name.</summary>
public static class RoundingMethods
{
    /// <summary>The transform of a name, or null.</summary>
    /// <param name="name">What <see cref="LayerTransform.Name"/> gives.</param>
    public static LayerTransform? FindTransform(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        string[] words = name.ToLowerInvariant().Split(':');
        return words[0] switch
        {
            AwqScaling.Word when words.Length == 1 => new AwqScaling(),
            SmoothScaling.Word => SmoothScaling.Read(words.AsSpan(1)),
            _ => null,
        };
    }

    /// <summary>The method of a name with its settings, or null.</summary>
    /// <param name="name">What <see cref="RoundingMethod.Name"/> gives.</param>
    public static RoundingMethod? Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        string[] words = name.ToLowerInvariant().Split(':');
        return words[0] switch
        {
            RoundToNearest.Word => RoundToNearest.Read(words.AsSpan(1)),
            GptqRounding.Word => GptqRounding.Read(words.AsSpan(1)),
            HqqRounding.Word => HqqRounding.Read(words.AsSpan(1)),
            AwqRounding.Word => AwqRounding.Read(words.AsSpan(1)),
            _ => null,
        };
    }
}
