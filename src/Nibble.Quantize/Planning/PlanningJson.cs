using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Nibble.Quantize.Planning;

/// <summary>What is written and read as JSON; names are in snake case, and one that is not known is an error.</summary>
[JsonSerializable(typeof(PlanRecipe))]
[JsonSerializable(typeof(MeasuredLoss))]
internal sealed partial class PlanningJson : JsonSerializerContext
{
    /// <summary>A value over several lines.</summary>
    public static PlanningJson Indented { get; } = new(Settings(true));

    /// <summary>A value in a line.</summary>
    public static PlanningJson Line { get; } = new(Settings(false));

    private static JsonSerializerOptions Settings(bool isIndented) => new()
    {
        WriteIndented = isIndented,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };
}

/// <summary>What a candidate was found to cost.</summary>
/// <param name="Tensor">The tensor.</param>
/// <param name="Target">What it would become.</param>
/// <param name="Method">How.</param>
/// <param name="Loss">Nats a token.</param>
internal sealed record MeasuredLoss(string Tensor, string Target, string Method, double Loss);
