namespace Nibble.Llm.Sampling;

/// <summary>A value, and whether a person chose it or it is a default.</summary>
internal sealed class Setting<T>(T value)
{
    public T Value { get; private set; } = value;

    public bool IsExplicit { get; private set; }

    public void Choose(T value)
    {
        Value = value;
        IsExplicit = true;
    }

    /// <summary>Replaces a default; a chosen value stays.</summary>
    public void Default(T value)
    {
        if (!IsExplicit) Value = value;
    }

    public void CopyFrom(Setting<T> other) => (Value, IsExplicit) = (other.Value, other.IsExplicit);
}
