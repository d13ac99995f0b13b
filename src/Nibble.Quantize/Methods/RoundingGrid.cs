namespace Nibble.Quantize.Methods;

/// <summary>The values a format can hold, group by group: its parameters are fitted first and stay, then weights are rounded to it in any order of columns.</summary>
public abstract class RoundingGrid
{
    /// <summary>Fits every group's parameters to a matrix.</summary>
    /// <param name="weights">[rows x columns].</param>
    /// <param name="importance">[columns], what an error in a column weighs, from 0 up.</param>
    public abstract void Fit(float[] weights, float[] importance);

    /// <summary>Rounds a weight, keeps its code and returns the value that the code stands for. Rows may be rounded on several threads at a time.</summary>
    /// <param name="row">The weight's row.</param>
    /// <param name="column">The weight's column in the matrix.</param>
    /// <param name="value">What to round.</param>
    public abstract float Round(int row, int column, float value);
}
