using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>KL of what methods make of the linear layers of jargon-6m: bounds from figures of other toolkits (../shared/fixtures/jargon-6m/README.md).</summary>
public sealed class MethodLossTests(MethodMeter meter) : IClassFixture<MethodMeter>
{
    [Theory]
    [InlineData("int4:g32:float", 0.00389)]
    [InlineData("int4:g128:float", 0.00691)]
    public void Zeros_that_are_fractions_lose_what_hqq_measured(string target, double kl) => Assert.InRange(Kl("hqq", target), kl * 0.95, kl * 1.05);

    [Theory(Explicit = true)]
    [InlineData("int4:g64:float", 0.00552)]
    public void Zeros_that_are_fractions_lose_what_hqq_measured_too(string target, double kl) => Assert.InRange(Kl("hqq", target), kl * 0.95, kl * 1.05);

    [Theory]
    [InlineData("gptq:act-order", "int4:g128:asym", 0.0028)]
    [InlineData("gptq:act-order:refine=4", "Q4_K", 0.0015)]
    [InlineData("awq", "int4:g128:asym", 0.0060)]
    public void Methods_that_look_at_activations_lose_little(string method, string target, double most) => Assert.InRange(Kl(method, target), most / 4, most);

    [Theory(Explicit = true)]
    [InlineData("gptq:act-order", "int4:g128", 0.0034)]
    [InlineData("gptq:act-order", "int3:g128", 0.0170)]
    [InlineData("gptq", "int4:g128:asym", 0.0030)]
    [InlineData("gptq", "int4:g128", 0.0036)]
    [InlineData("gptq:act-order:refine=4", "int4:g128:asym", 0.0026)]
    [InlineData("gptq:act-order", "int4:g32", 0.0027)]
    [InlineData("gptq:act-order", "nf4", 0.0050)]
    [InlineData("gptq:act-order", "Q4_K", 0.0016)]
    [InlineData("gptq:act-order:refine=4", "Q4_0", 0.0018)]
    [InlineData("gptq:act-order:refine=4", "IQ4_XS", 0.00155)]
    [InlineData("gptq:act-order:refine=4", "Q3_K", 0.0060)] // at most 0.0073 was asked for; without refinement it is 0.00737 (docs/quantization.md)
    [InlineData("gptq:act-order:refine=4", "Q5_K", 0.00037)]
    [InlineData("gptq:act-order:refine=4", "Q6_K", 0.00009)]
    [InlineData("gptq:act-order:refine=4", "nf4", 0.0019)]
    [InlineData("gptq:act-order:refine=4", "nf4:double", 0.0021)]
    [InlineData("gptq:act-order", "Q4_0", 0.0020)]
    [InlineData("gptq:act-order", "IQ4_XS", 0.0017)]
    [InlineData("awq", "int4:g128", 0.0085)]
    [InlineData("awq", "int4:g64:asym", 0.0055)]
    public void Methods_that_look_at_activations_lose_little_elsewhere(string method, string target, double most) => Assert.InRange(Kl(method, target), most / 4, most);

    private double Kl(string method, string targetName)
    {
        TensorTarget target = TensorTarget.Find(targetName)!;
        PlanOptions options = new()
        {
            Target = target,
            Method = RoundingMethods.Find(method)!,
            Transform = method == "awq" ? new AwqScaling() : null,
        };
        (double kl, long bytes) = meter.Of(options);
        Console.WriteLine($"KL {method} {targetName}: {kl:F5}, {bytes} bytes");
        return kl;
    }
}
