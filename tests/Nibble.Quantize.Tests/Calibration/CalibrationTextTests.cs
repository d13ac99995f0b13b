using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>How a calibration text is cut.</summary>
public class CalibrationTextTests
{
    [Fact]
    public void Whole_chunks_are_cut_and_every_fourth_is_held_out()
    {
        CalibrationText text = CalibrationText.Cut([.. Enumerable.Range(0, 103)], 10, 99, maxChunks: 9, heldOutShare: 0.25);
        Assert.Equal([0, 1, 2, 4, 5, 6, 8], text.Chunks.Select(chunk => chunk[1] / 10));
        Assert.Equal([3, 7], text.HeldOut.Select(chunk => chunk[1] / 10));
        Assert.All(text.Chunks, chunk => Assert.Equal(99, chunk[0]));
        Assert.Equal(10, CalibrationText.Cut([.. Enumerable.Range(0, 103)], 10, null).Chunks.Count);
    }

    [Fact]
    public void What_cannot_be_cut_is_refused_with_the_numbers()
    {
        Assert.Contains("9 ids", Assert.Throws<ArgumentException>(() => CalibrationText.Cut(new int[9], 10, null)).Message, StringComparison.Ordinal);
        Assert.Contains("two are needed", Assert.Throws<ArgumentException>(() => CalibrationText.Cut(new int[19], 10, null, heldOutShare: 0.1)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => CalibrationText.Cut(new int[90], 10, null, heldOutShare: 0.6));
        Assert.Throws<ArgumentOutOfRangeException>(() => CalibrationText.Cut(new int[90], 10, null, maxChunks: 0));
    }
}
