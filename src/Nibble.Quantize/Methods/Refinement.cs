namespace Nibble.Quantize.Methods;

/// <summary>
/// Lowers ½ δ H δᵀ of a rounded row, δ = values − weights, in rounds: coordinate descent on the codes with the running gradient g = H δ; for each group the parameters next to its own, each with a small GPTQ inside the
/// group against the optimum that g gives, kept where the loss falls; then least squares for each block's d and dmin for the codes found, rounded as they are stored and kept where the loss falls. Not thread-safe.
/// </summary>
internal sealed class Refinement
{
    private const int Sweeps = 2;

    // What is needed of a gain, against rounding errors of the running gradient; and a step of a scale that is no whole number.
    private const float Gain = 1e-5f, ScaleStep = 0.015f;

    private readonly LayerHessian _hessian;
    private readonly GroupFactors _factors;
    private readonly RoundingGrid _grid;
    private readonly GridShape _shape;
    private readonly float[] _error, _gradient;
    private readonly float[] _optimum, _work;
    private readonly byte[] _codes, _bestCodes;
    private readonly float[] _slope, _minSlope, _product, _minProduct;

    public Refinement(LayerHessian hessian, GroupFactors factors, RoundingGrid grid)
    {
        (_hessian, _factors, _grid, _shape) = (hessian, factors, grid, grid.Shape);
        (_error, _gradient) = (new float[hessian.Columns], new float[hessian.Columns]);
        int size = _shape.Group, block = _shape.Block;
        (_optimum, _work, _codes, _bestCodes) = (new float[size], new float[size], new byte[size], new byte[size]);
        (_slope, _minSlope, _product, _minProduct) = (new float[block], new float[block], new float[block], new float[block]);
    }

    /// <summary>Refines a row.</summary>
    /// <param name="row">The row of the grid.</param>
    /// <param name="weights">[columns].</param>
    /// <param name="values">[columns] values of the grid's codes; kept up with them.</param>
    /// <param name="rounds">Rounds at most; it ends where one changes nothing.</param>
    public void Run(int row, ReadOnlySpan<float> weights, Span<float> values, int rounds)
    {
        for (int i = 0; i < weights.Length; i++)
            _error[i] = values[i] - weights[i];
        for (int round = 0; round < rounds; round++)
        {
            // The running gradient gathers rounding errors; each round starts from a fresh one.
            _hessian.Multiply(_error, _gradient);
            bool changed = false;
            for (int sweep = 0; sweep < Sweeps && Descend(row, values); sweep++)
                changed = true;
            for (int start = 0; start < weights.Length; start += _shape.Group)
                changed |= TryNeighbours(row, start, values);
            for (int start = 0; start < weights.Length; start += _shape.Block)
                changed |= FitBlock(row, start, values);
            if (!changed) return;
        }
    }

    // Each code in turn moves to where the loss is lowest with all others as they are.
    private bool Descend(int row, Span<float> values)
    {
        bool changed = false;
        int size = _shape.Group;
        for (int start = 0; start < values.Length; start += size)
        {
            int first = (row * values.Length) + start;
            AffineGroup group = _grid.GroupOf(first / size);
            float inverse = group.Inverse;
            if (inverse == 0) continue;
            for (int column = start; column < start + size; column++)
            {
                float diagonal = _hessian.Values[(column * values.Length) + column];
                if (!(diagonal > 0)) continue;
                int code = _shape.Levels.Code(group.Place(values[column] - (_gradient[column] / diagonal), inverse));
                ref byte own = ref _grid.Codes[first + column - start];
                if (code == own) continue;
                own = (byte)code;
                Move(column, group.Value(_shape.Levels[code]), values);
                changed = true;
            }
        }

        return changed;
    }

    private void Move(int column, float value, Span<float> values)
    {
        float step = value - values[column];
        if (step == 0) return;
        values[column] = value;
        _error[column] += step;
        Rows.Add(_hessian.Row(column), step, _gradient);
    }

    // The group's part of the loss is (v − t) Hⱼⱼ (v − t)ᵀ with t = v − inv(Hⱼⱼ) g, the optimum with all other groups as they are.
    private bool TryNeighbours(int row, int start, Span<float> values)
    {
        int size = _shape.Group, group = ((row * values.Length) + start) / size, block = group / _shape.Groups;
        ReadOnlySpan<float> inverse = _factors.Inverse.AsSpan(start * size, size * size), gradient = _gradient.AsSpan(start, size);
        float current = 0;
        for (int i = 0; i < size; i++)
        {
            float step = Rows.Dot(inverse.Slice(i * size, size), gradient);
            _optimum[i] = values[start + i] - step;
            current += step * gradient[i];
        }

        float best = current * (1 - Gain);
        Parameters own = new(_grid.BlockScales[block], _grid.BlockMinima[block], _grid.GroupScales[group], _grid.GroupMinima[group], _grid.GroupZeros[group]), found = own;
        bool isFound = false;
        for (int step = -1; step <= 1; step++)
            for (int other = -1; other <= 1; other++)
                if (Neighbour(own, step, other) is { } tried && TryRound(tried.Group, start, ref best))
                {
                    found = tried;
                    isFound = true;
                }

        if (!isFound) return false;
        (_grid.BlockScales[block], _grid.BlockMinima[block]) = (found.D, found.Dmin);
        (_grid.GroupScales[group], _grid.GroupMinima[group], _grid.GroupZeros[group]) = ((sbyte)found.Scale, (byte)found.Min, (byte)found.Zero);
        AffineGroup chosen = found.Group;
        for (int i = 0; i < size; i++)
        {
            _grid.Codes[(row * values.Length) + start + i] = _bestCodes[i];
            Move(start + i, chosen.Value(_shape.Levels[_bestCodes[i]]), values);
        }

        return true;
    }

    // Whole scale and minimum, or scale and zero or offset, a step away; null where there is no such.
    private Parameters? Neighbour(Parameters own, int step, int other)
    {
        if (_shape.HasGroupScales)
        {
            int scale = own.Scale + step, min = own.Min + other;
            bool isInside = scale >= _shape.LowScale && scale <= _shape.HighScale && min >= 0 && min <= _shape.HighMin;
            return isInside ? own with { Scale = scale, Min = min } : null;
        }

        float d = _shape.Store(own.D * (1 + (ScaleStep * step)));
        if (_shape.HasOffset) return own with { D = d, Dmin = _shape.Store(own.Dmin + (own.D * 0.25f * other)) };
        if (!_shape.HasZeros) return other == 0 ? own with { D = d } : null;
        int zero = own.Zero + other;
        return zero >= 0 && zero < _shape.Levels.Count ? own with { D = d, Zero = zero } : null;
    }

    // Rounds the group's columns one after the other toward the optimum; true where the loss is below the best, which it replaces.
    private bool TryRound(AffineGroup group, int start, ref float best)
    {
        float inverse = group.Inverse;
        if (inverse == 0) return false;
        int size = _shape.Group;
        ReadOnlySpan<float> upper = _factors.Upper.AsSpan(start * size, size * size);
        _optimum.CopyTo(_work, 0);
        float loss = 0;
        for (int i = 0; i < size; i++)
        {
            int code = _shape.Levels.Code(group.Place(_work[i], inverse));
            _codes[i] = (byte)code;
            float error = (_work[i] - group.Value(_shape.Levels[code])) / upper[(i * size) + i];
            loss += error * error;
            if (!(loss < best)) return false;
            Rows.Add(upper.Slice((i * size) + i + 1, size - i - 1), -error, _work.AsSpan(i + 1));
        }

        best = loss;
        _codes.CopyTo(_bestCodes, 0);
        return true;
    }

    // With codes and whole numbers fixed the block's values are d·u − dmin·v, so that the loss is quadratic in d and dmin.
    private bool FitBlock(int row, int start, Span<float> values)
    {
        int size = _shape.Group, length = _shape.Block, first = (row * values.Length) + start, block = first / length;
        bool hasMin = _shape.HighMin > 0 || _shape.HasOffset;
        for (int i = 0; i < length; i++)
        {
            int group = (first + i) / size;
            _slope[i] = _grid.GroupScales[group] * (_shape.Levels[_grid.Codes[first + i]] - _grid.GroupZeros[group]);
            _minSlope[i] = -_grid.GroupMinima[group];
        }

        Array.Clear(_product);
        Array.Clear(_minProduct);
        for (int i = 0; i < length; i++)
        {
            ReadOnlySpan<float> part = _hessian.Row(start + i).Slice(start, length);
            Rows.Add(part, _slope[i], _product);
            if (hasMin) Rows.Add(part, _minSlope[i], _minProduct);
        }

        ReadOnlySpan<float> gradient = _gradient.AsSpan(start, length);
        double uu = LayerHessian.Dot(_slope, _product), ug = LayerHessian.Dot(_slope, gradient), uv = 0, vv = 0, vg = 0, step, minStep = 0;
        if (hasMin)
        {
            (uv, vv, vg) = (LayerHessian.Dot(_slope, _minProduct), LayerHessian.Dot(_minSlope, _minProduct), LayerHessian.Dot(_minSlope, gradient));
            hasMin = vv > 0;
        }

        if (hasMin)
        {
            double determinant = (uu * vv) - (uv * uv);
            if (!(determinant > 1e-9 * uu * vv)) return false;
            (step, minStep) = (-((ug * vv) - (vg * uv)) / determinant, -((uu * vg) - (uv * ug)) / determinant);
        }
        else
        {
            if (!(uu > 0)) return false;
            step = -ug / uu;
        }

        float d = _grid.BlockScales[block], dmin = _grid.BlockMinima[block], newD = _shape.Store(d + step), newDmin = hasMin ? _shape.Store(dmin + minStep) : dmin;
        if (!_shape.IsSigned && !(newD > 0) || !_shape.HasOffset && newDmin < 0) return false;
        (step, minStep) = ((double)newD - d, (double)newDmin - dmin);
        double change = (2 * ((step * ug) + (minStep * vg))) + (step * step * uu) + (2 * step * minStep * uv) + (minStep * minStep * vv);
        if (!(change < 0)) return false;
        (_grid.BlockScales[block], _grid.BlockMinima[block]) = (newD, newDmin);
        for (int i = 0; i < length; i++)
            Move(start + i, _grid.GroupOf((first + i) / size).Value(_shape.Levels[_grid.Codes[first + i]]), values);
        return true;
    }

    private readonly record struct Parameters(float D, float Dmin, int Scale, int Min, int Zero)
    {
        public AffineGroup Group => new(D * Scale, Zero, Dmin * Min);
    }
}
