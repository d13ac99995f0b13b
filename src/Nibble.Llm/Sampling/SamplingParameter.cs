using System.Globalization;
using System.Numerics;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Sampling;

/// <summary>One row of the table of sampling flags: how a value is named, read, checked, shown, and which key of a model file sets its default.</summary>
public abstract class SamplingParameter
{
    private protected SamplingParameter(string flag, string valueName, string help)
    {
        Flag = flag;
        ValueName = valueName;
        Help = help;
    }

    /// <summary>The command line's flag with its dashes, as llama.cpp spells it: <c>--top-k</c>.</summary>
    public string Flag { get; }

    /// <summary>Other spellings of the flag.</summary>
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>What stands for the value in a usage text: <c>N</c>.</summary>
    public string ValueName { get; }

    /// <summary>One line on what the value does, without its default.</summary>
    public string Help { get; }

    /// <summary>The GGUF key that sets the default of a model, or null.</summary>
    public string? MetadataKey { get; init; }

    /// <summary>Whether the flag may be given more than once, each adding to the last.</summary>
    public virtual bool IsRepeatable => false;

    /// <summary>The default without a model, as a user would write it.</summary>
    public string DefaultText => Format(new SamplingOptions());

    /// <summary>Reads a flag's value. It then beats any default of a model file.</summary>
    /// <exception cref="ArgumentException">The text is not such a value, or out of range; the message names flag, value and bound.</exception>
    public abstract void Parse(SamplingOptions options, string text);

    /// <summary>The value as a user would write it.</summary>
    public abstract string Format(SamplingOptions options);

    /// <summary>Checks the value's range.</summary>
    /// <exception cref="ArgumentException">The value is out of range; the message names it and the bound.</exception>
    public abstract void Validate(SamplingOptions options);

    internal abstract void Copy(SamplingOptions from, SamplingOptions to);

    /// <summary>Takes the file's default, unless a value was chosen, in which case the file's is not even read.</summary>
    internal abstract void Apply(SamplingOptions options, GgufMetadata metadata);
}

/// <summary>A parameter that is one number.</summary>
internal sealed class NumberParameter<T> : SamplingParameter where T : struct, INumber<T>
{
    private readonly Func<SamplingOptions, Setting<T>> _setting;

    public NumberParameter(string flag, Func<SamplingOptions, Setting<T>> setting, T min, T max, string help) : base(flag, "N", help)
    {
        _setting = setting;
        Min = min;
        Max = max;
    }

    /// <summary>The lowest value accepted.</summary>
    public T Min { get; }

    /// <summary>The highest value accepted.</summary>
    public T Max { get; }

    /// <summary>What a value has to be, for error texts.</summary>
    public string Requirement
    {
        get
        {
            string kind = typeof(T) == typeof(float) ? "a number" : "a whole number";
            if (typeof(T) != typeof(float)) return $"{kind} from {Text(Min)} to {Text(Max)}";
            bool bottomless = Min == T.CreateChecked(float.MinValue), topless = Max == T.CreateChecked(float.MaxValue);
            string bottom = Min == T.CreateChecked(SamplingLimits.Positive) ? "above 0" : $"{Text(Min)} or above";
            return (bottomless, topless) switch
            {
                (true, true) => "a finite number",
                (false, true) => $"a finite number, {bottom}",
                _ => $"{kind} from {Text(Min)} to {Text(Max)}",
            };
        }
    }

    /// <inheritdoc/>
    public override void Parse(SamplingOptions options, string text)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!T.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out T value) || !InRange(value))
            throw new ArgumentException($"{Flag} is '{text}'; it must be {Requirement}.");
        _setting(options).Choose(value);
    }

    /// <inheritdoc/>
    public override string Format(SamplingOptions options) => Text(_setting(options).Value);

    /// <inheritdoc/>
    public override void Validate(SamplingOptions options)
    {
        T value = _setting(options).Value;
        if (!InRange(value)) throw new ArgumentOutOfRangeException(nameof(options), $"{Flag} is {Text(value)}; it must be {Requirement}.");
    }

    internal override void Copy(SamplingOptions from, SamplingOptions to) => _setting(to).CopyFrom(_setting(from));

    internal override void Apply(SamplingOptions options, GgufMetadata metadata)
    {
        Setting<T> setting = _setting(options);
        if (setting.IsExplicit || MetadataKey is null || !metadata.Contains(MetadataKey)) return;
        bool isFloat = typeof(T) == typeof(float) && metadata.TypeOf(MetadataKey) is (GgufValueType.Float32 or GgufValueType.Float64);
        T value = isFloat ? T.CreateChecked(metadata.GetFloat32(MetadataKey)) : T.CreateChecked(metadata.GetInt32(MetadataKey));
        if (!InRange(value)) throw metadata.Error(MetadataKey, $"is {Text(value)}; it must be {Requirement}. Give {Flag} to use another value.");
        setting.Default(value);
    }

    // False for NaN, which compares with nothing.
    private bool InRange(T value) => value >= Min && value <= Max;

    private static string Text(T value) => value.ToString(null, CultureInfo.InvariantCulture);
}

/// <summary>A parameter with a syntax of its own: a list, or a number with a special word.</summary>
internal sealed class TextParameter<T> : SamplingParameter
{
    private readonly Func<SamplingOptions, Setting<T>> _setting;
    private readonly bool _repeatable;

    public TextParameter(string flag, string valueName, Func<SamplingOptions, Setting<T>> setting, string help, bool repeatable = false) : base(flag, valueName, help)
    {
        _setting = setting;
        _repeatable = repeatable;
    }

    /// <inheritdoc/>
    public override bool IsRepeatable => _repeatable;

    /// <summary>Gives the new value of a text; the first argument is what earlier uses of the same flag gave, or the default. Throws FormatException with what is wrong.</summary>
    public required Func<Setting<T>, string, T> Read { get; init; }

    public required Func<T, string> Write { get; init; }

    /// <summary>Says what is wrong with a value, or null.</summary>
    public required Func<T, string?> Fault { get; init; }

    /// <inheritdoc/>
    public override void Parse(SamplingOptions options, string text)
    {
        ArgumentNullException.ThrowIfNull(options);
        Setting<T> setting = _setting(options);
        T value;
        try
        {
            value = Read(setting, text);
        }
        catch (FormatException e)
        {
            throw new ArgumentException($"{Flag} is '{text}'; {e.Message}", e);
        }
        if (Fault(value) is string fault) throw new ArgumentException($"{Flag} is '{text}'; {fault}");
        setting.Choose(value);
    }

    /// <inheritdoc/>
    public override string Format(SamplingOptions options) => Write(_setting(options).Value);

    /// <inheritdoc/>
    public override void Validate(SamplingOptions options)
    {
        T value = _setting(options).Value;
        if (Fault(value) is string fault) throw new ArgumentException($"{Flag} is {Write(value)}; {fault}", nameof(options));
    }

    internal override void Copy(SamplingOptions from, SamplingOptions to) => _setting(to).CopyFrom(_setting(from));

    internal override void Apply(SamplingOptions options, GgufMetadata metadata)
    {
        Setting<T> setting = _setting(options);
        if (setting.IsExplicit || MetadataKey is null || metadata.FindString(MetadataKey) is not string text) return;
        T value;
        try
        {
            value = Read(setting, text);
        }
        catch (FormatException e)
        {
            throw metadata.Error(MetadataKey, $"is '{text}'; {e.Message} Give {Flag} to use another value.");
        }
        if (Fault(value) is string fault) throw metadata.Error(MetadataKey, $"is '{text}'; {fault} Give {Flag} to use another value.");
        setting.Default(value);
    }
}

/// <summary>Bounds that several parameters share.</summary>
internal static class SamplingLimits
{
    /// <summary>The smallest normal float32: a number above 0 whose inverse is finite.</summary>
    public const float Positive = 1.17549435e-38f;

    /// <summary>The longest history a sampler keeps, in tokens; it bounds what a model file can make us allocate.</summary>
    public const int HistoryTokens = 1 << 20;
}
