using Xunit;

namespace Nibble.Testing;

/// <summary>Programs that tests need and the clone does not bring along.</summary>
public static class Installed
{
    /// <summary>Set to 1 where OpenCL and Oclgrind have been installed, as <c>.ci/run</c> does: tests that do not find them fail there.</summary>
    public const string RequireOpenCl = "NIBBLE_REQUIRE_OPENCL";

    /// <summary>Skips the calling test where something of OpenCL is not there; where it has to be, the test fails.</summary>
    /// <param name="isThere">Whether it is there.</param>
    /// <param name="reason">What is missing.</param>
    public static void OpenCl(bool isThere, string reason) => OpenCl(isThere, reason, Environment.GetEnvironmentVariable(RequireOpenCl));

    /// <summary>As the other one, with the variable's value.</summary>
    /// <param name="isThere">Whether it is there.</param>
    /// <param name="reason">What is missing.</param>
    /// <param name="required">The value of <see cref="RequireOpenCl"/>, or null.</param>
    public static void OpenCl(bool isThere, string reason, string? required)
    {
        if (isThere) return;
        if (required == "1") Assert.Fail($"{reason}; {RequireOpenCl} is 1, so it has to be there");
        Assert.Skip(reason);
    }
}
