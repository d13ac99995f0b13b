namespace Nibble.Cpu.Tests;

public class SmokeTests { [Fact] public void Shared_folder_is_found() => Assert.NotNull(Fixtures.Shared("fixtures")); }
