namespace Nibble.Quantize.Methods;

/// <summary>
/// Chooses a block's parameters before anything is rounded: for each group a search of shrunken ranges, then least squares for the codes found; then, where groups have whole scales, a search of d and dmin
/// with the whole numbers next to each group's own. Errors are weighted squared ones.
/// </summary>
internal static class GroupFit
{
    private const int SquareRounds = 3;

    // Steps of the symmetric search, of each end of a range, and of d.
    private const int ScaleSteps = 22, RangeSteps = 9, SuperSteps = 10;
    private const int MaxGroups = 16;

    /// <summary>Fits one block of a grid.</summary>
    /// <param name="grid">The grid; the block's d, dmin and its groups' whole numbers are set.</param>
    /// <param name="block">The block, counted through the matrix.</param>
    /// <param name="values">[values of a block].</param>
    /// <param name="weights">[values of a block] what an error counts.</param>
    public static void Fit(RoundingGrid grid, int block, ReadOnlySpan<float> values, ReadOnlySpan<float> weights)
    {
        GridShape shape = grid.Shape;
        if (shape.HasGroupScales)
        {
            FitSuper(grid, block, values, weights);
            return;
        }

        Best best = new(shape, values, weights);
        if (shape.HasZeros) best.FindZero();
        else if (shape.HasOffset) best.FindRange();
        else best.FindScale();
        float scale = shape.Store(best.Group.Scale);
        grid.BlockScales[block] = scale == 0 ? shape.EmptyScale : scale;
        grid.BlockMinima[block] = shape.Store(best.Group.Min);
        grid.GroupScales[block] = 1;
        grid.GroupMinima[block] = (byte)(shape.HasOffset ? 1 : 0);
        grid.GroupZeros[block] = (byte)best.Group.Zero;
    }

    private static void FitSuper(RoundingGrid grid, int block, ReadOnlySpan<float> values, ReadOnlySpan<float> weights)
    {
        GridShape shape = grid.Shape;
        int groups = shape.Groups, size = shape.Group;
        Span<float> scales = stackalloc float[groups], minima = stackalloc float[groups];
        float extreme = 0, largestMin = 0;
        for (int group = 0; group < groups; group++)
        {
            Best best = new(shape, values.Slice(group * size, size), weights.Slice(group * size, size));
            if (shape.HighMin > 0) best.FindRange();
            else best.FindScale();
            (scales[group], minima[group]) = (best.Group.Scale, best.Group.Min);
            if (MathF.Abs(scales[group]) > MathF.Abs(extreme)) extreme = scales[group];
            largestMin = MathF.Max(largestMin, minima[group]);
        }

        Span<sbyte> foundScales = grid.GroupScales.AsSpan(block * groups, groups), triedScales = stackalloc sbyte[MaxGroups];
        Span<byte> foundMinima = grid.GroupMinima.AsSpan(block * groups, groups), triedMinima = stackalloc byte[MaxGroups];
        float error = float.PositiveInfinity;
        for (int step = 0; step < SuperSteps && extreme != 0; step++)
        {
            // The scale of largest magnitude takes the end of the whole numbers that reaches farther.
            float d = shape.Store(extreme / (shape.LowScale < 0 ? shape.LowScale : shape.HighScale) * (0.9f + (0.025f * step)));
            float dmin = shape.HighMin == 0 ? 0 : shape.Store(largestMin / shape.HighMin * (step < SuperSteps / 2 ? 1 : 1.02f));
            if (d == 0) continue;
            float sum = 0;
            for (int group = 0; group < groups && sum < error; group++)
                sum += FitGroup(shape, values.Slice(group * size, size), weights.Slice(group * size, size), d, dmin, scales[group], minima[group], out triedScales[group], out triedMinima[group]);
            if (!(sum < error)) continue;
            error = sum;
            (grid.BlockScales[block], grid.BlockMinima[block]) = (d, dmin);
            triedScales[..groups].CopyTo(foundScales);
            triedMinima[..groups].CopyTo(foundMinima);
        }

        if (float.IsFinite(error)) return;
        (grid.BlockScales[block], grid.BlockMinima[block]) = (0, 0);
        foundScales.Clear();
        foundMinima.Clear();
    }

    // The best whole numbers next to scale / d and min / dmin.
    private static float FitGroup(
        GridShape shape, ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float d, float dmin, float scale, float min, out sbyte foundScale, out byte foundMin)
    {
        int nearScale = Nearest(scale / d, shape.LowScale, shape.HighScale), nearMin = dmin > 0 ? Nearest(min / dmin, 0, shape.HighMin) : 0, reach = dmin > 0 ? 1 : 0;
        float error = float.PositiveInfinity;
        (foundScale, foundMin) = ((sbyte)nearScale, (byte)nearMin);
        for (int s = Math.Max(shape.LowScale, nearScale - 1); s <= Math.Min(shape.HighScale, nearScale + 1); s++)
            for (int m = Math.Max(0, nearMin - reach); m <= Math.Min(shape.HighMin, nearMin + reach); m++)
            {
                float tried = shape.Levels.Error(values, weights, new AffineGroup(d * s, 0, dmin * m));
                if (tried < error) (error, foundScale, foundMin) = (tried, (sbyte)s, (byte)m);
            }

        return error;
    }

    private static int Nearest(float value, int low, int high) => (int)Math.Clamp(MathF.Round(value), low, high);

    /// <summary>The best parameters of one group so far.</summary>
    private ref struct Best(GridShape shape, ReadOnlySpan<float> values, ReadOnlySpan<float> weights)
    {
        private readonly ReadOnlySpan<float> _values = values, _weights = weights;
        private float _error = float.PositiveInfinity;

        public AffineGroup Group { get; private set; } = new(0, shape.Zero, 0);

        /// <summary>Looks for a scale alone: the largest magnitude meets a level within 0.6 to 1.23 of the farthest.</summary>
        public void FindScale()
        {
            float largest = 0;
            foreach (float value in _values)
                largest = MathF.Max(largest, MathF.Abs(value));
            if (largest == 0) return;
            float whole = largest / MathF.Max(shape.Zero - shape.Levels.Low, shape.Levels.High - shape.Zero);
            for (int sign = shape.IsSigned ? -1 : 1; sign <= 1; sign += 2)
                for (int step = 0; step < ScaleSteps; step++)
                    Try(sign * whole * (0.6f + (0.03f * step)), shape.Zero, 0);
            FitScale();
        }

        /// <summary>Looks for a scale and a minimum. Where the minimum is a whole number from 0 up times dmin, the range holds 0; else it may lie anywhere.</summary>
        public void FindRange()
        {
            (float low, float high) = Ends(shape.HasOffset);
            if (low == high)
            {
                Group = new(0, 0, -low);
                return;
            }

            float distance = (high - low) / shape.Levels.High;
            for (int below = 0; below < RangeSteps; below++)
                for (int above = 0; above < RangeSteps; above++)
                {
                    float start = shape.HasOffset ? low + (distance * ((0.3f * below) - 0.6f)) : low * (0.6f + (0.06f * below));
                    float end = shape.HasOffset ? high - (distance * ((0.3f * above) - 0.6f)) : high * (0.6f + (0.06f * above));
                    Try((end - start) / shape.Levels.High, 0, -start);
                }

            for (int round = 0; round < SquareRounds; round++)
            {
                FitSums sums = shape.Levels.Sums(_values, _weights, Group);
                double determinant = (sums.Cc * sums.One) - (sums.C * sums.C);
                if (!(determinant > 1e-12 * sums.Cc * sums.One)) return;
                double scale = ((sums.Cx * sums.One) - (sums.X * sums.C)) / determinant, min = ((sums.C * sums.Cx) - (sums.Cc * sums.X)) / determinant;
                if (!shape.HasOffset && min < 0) (scale, min) = (sums.Cx / sums.Cc, 0);
                if (!Try((float)scale, 0, (float)min)) return;
            }
        }

        /// <summary>Looks for a scale that will be stored and a whole zero; the range holds 0.</summary>
        public void FindZero()
        {
            (float low, float high) = Ends(isFree: false);
            if (low == high) return;
            for (int below = 0; below < RangeSteps; below++)
                for (int above = 0; above < RangeSteps; above++)
                {
                    float start = low * (0.6f + (0.06f * below)), scale = shape.Store(((high * (0.6f + (0.06f * above))) - start) / shape.Levels.High);
                    if (scale > 0) Try(scale, Nearest(-start / scale, 0, (int)shape.Levels.High), 0);
                }

            FitScale();
            AffineGroup found = Group;
            for (int zero = Math.Max(0, (int)found.Zero - 1); zero <= Math.Min((int)shape.Levels.High, (int)found.Zero + 1); zero++)
                if (Try(found.Scale, zero, 0)) FitScale();
        }

        // Least squares for the codes, as long as it helps.
        private void FitScale()
        {
            for (int round = 0; round < SquareRounds; round++)
            {
                FitSums sums = shape.Levels.Sums(_values, _weights, Group);
                if (!(sums.Cc > 0) || !Try(shape.HasGroupScales ? (float)(sums.Cx / sums.Cc) : shape.Store(sums.Cx / sums.Cc), Group.Zero, 0)) return;
            }
        }

        private readonly (float Low, float High) Ends(bool isFree)
        {
            float low = isFree ? float.PositiveInfinity : 0, high = isFree ? float.NegativeInfinity : 0;
            foreach (float value in _values)
                (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
            return (low, high);
        }

        private bool Try(float scale, float zero, float min)
        {
            if (!(shape.IsSigned ? scale != 0 : scale > 0) || !float.IsFinite(scale)) return false;
            AffineGroup tried = new(scale, zero, min);
            float error = shape.Levels.Error(_values, _weights, tried);
            if (!(error < _error)) return false;
            (_error, Group) = (error, tried);
            return true;
        }
    }
}
