namespace Nibble.Quantize.Methods;

/// <summary>
/// Lowers ½ δ H δᵀ of rounded rows, δ = values − weights, in rounds, piece by piece of the columns: coordinate descent on the codes with the running gradient g = H δ; for each group the parameters next to its own, each with a
/// small GPTQ inside the group against the optimum that g gives, kept where the loss falls; then least squares for each block's d and dmin for the codes found, rounded as they are stored and kept where the loss falls. What a
/// piece changed reaches the gradient of all other columns in one product for several rows. Not thread-safe.
/// </summary>
internal sealed class Refinement
{
    private const int Sweeps = 2;

    // Columns of a piece, as near as blocks allow.
    private const int UsualPiece = 256;

    // Rounds after which the gradient is computed anew, since rounding errors gather in it.
    private const int FreshRounds = 8;

    // What is needed of a gain, against those errors; and a step of a scale that is no whole number.
    private const float Gain = 1e-5f, ScaleStep = 0.015f;

    private readonly LayerHessian _hessian;
    private readonly GroupFactors _factors;
    private readonly HessianPieces _pieces;
    private readonly RoundingGrid _grid;
    private readonly GridShape _shape;
    private readonly float[] _gradients, _steps, _optimum, _work, _slope, _minSlope, _product, _minProduct;
    private readonly bool[] _isDone, _isChanged;
    private readonly byte[] _codes, _bestCodes;

    /// <summary>Prepares for a grid.</summary>
    /// <param name="hessian">What errors cost.</param>
    /// <param name="grid">The grid.</param>
    /// <param name="rows">Rows that are refined together at most.</param>
    public Refinement(LayerHessian hessian, RoundingGrid grid, int rows)
    {
        (_hessian, _grid, _shape) = (hessian, grid, grid.Shape);
        (_factors, _pieces) = Prepare(hessian, _shape);
        int size = _shape.Group, block = _shape.Block;
        (_gradients, _steps) = (new float[rows * hessian.Columns], new float[rows * hessian.Columns]);
        (_isDone, _isChanged) = (new bool[rows], new bool[rows]);
        (_optimum, _work, _codes, _bestCodes) = (new float[size], new float[size], new byte[size], new byte[size]);
        (_slope, _minSlope, _product, _minProduct) = (new float[block], new float[block], new float[block], new float[block]);
    }

    /// <summary>Computes what all threads need.</summary>
    public static (GroupFactors Factors, HessianPieces Pieces) Prepare(LayerHessian hessian, GridShape shape) =>
        (hessian.Groups(shape.Group), hessian.Pieces(shape.Block * Math.Max(1, UsualPiece / shape.Block)));

    /// <summary>Refines rows.</summary>
    /// <param name="first">The first row of the grid.</param>
    /// <param name="end">Behind the last one.</param>
    /// <param name="weights">[all rows x columns].</param>
    /// <param name="values">[all rows x columns] values of the grid's codes; kept up with them.</param>
    /// <param name="rounds">Rounds at most; a row is left alone when one changed nothing.</param>
    public void Run(int first, int end, float[] weights, float[] values, int rounds)
    {
        int columns = _hessian.Columns, rows = end - first;
        Array.Clear(_isDone);
        for (int round = 0; round < rounds; round++)
        {
            if (round % FreshRounds == 0) Gradients(first, rows, weights, values);
            Array.Clear(_isChanged);
            for (int start = 0; start < columns; start += _pieces.Size)
            {
                int size = Math.Min(_pieces.Size, columns - start);
                bool any = false;
                for (int r = 0; r < rows; r++)
                {
                    Span<float> steps = _steps.AsSpan(r * size, size);
                    steps.Clear();
                    if (_isDone[r]) continue;
                    Piece piece = new((first + r) * columns + start, _pieces.Of(start), start, values.AsSpan(((first + r) * columns) + start, size), _gradients.AsSpan((r * columns) + start, size), steps);
                    _isChanged[r] |= Refine(piece);
                    any |= steps.ContainsAnyExcept(0f);
                }

                if (!any) continue;
                ReadOnlySpan<float> own = _hessian.Values.AsSpan(start * columns);
                RowBatch.Add(_steps, size, size, own, columns, _gradients, columns, rows, start);
                int rest = start + size;
                if (rest < columns) RowBatch.Add(_steps, size, size, own[rest..], columns, _gradients.AsSpan(rest), columns, rows, columns - rest);
            }

            bool isEnd = true;
            for (int r = 0; r < rows; r++)
            {
                _isDone[r] |= !_isChanged[r];
                isEnd &= _isDone[r];
            }

            if (isEnd) return;
        }
    }

    private void Gradients(int first, int rows, float[] weights, float[] values)
    {
        int columns = _hessian.Columns;
        for (int i = 0; i < rows * columns; i++)
            _steps[i] = values[(first * columns) + i] - weights[(first * columns) + i];
        _gradients.AsSpan(0, rows * columns).Clear();
        for (int start = 0; start < columns; start += UsualPiece)
        {
            int count = Math.Min(UsualPiece, columns - start);
            RowBatch.Add(_steps.AsSpan(start), columns, count, _hessian.Values.AsSpan(start * columns), columns, _gradients, columns, rows, columns);
        }
    }

    private bool Refine(Piece piece)
    {
        bool isChanged = false;
        for (int sweep = 0; sweep < Sweeps && Descend(piece); sweep++)
            isChanged = true;
        for (int start = 0; start < piece.Size; start += _shape.Group)
            isChanged |= TryNeighbours(piece, start);
        for (int start = 0; start < piece.Size && !_grid.IsFixed; start += _shape.Block)
            isChanged |= FitBlock(piece, start);
        return isChanged;
    }

    // Each code in turn moves to where the loss is lowest with all others as they are.
    private bool Descend(Piece piece)
    {
        bool isChanged = false;
        int size = _shape.Group;
        for (int start = 0; start < piece.Size; start += size)
        {
            AffineGroup group = _grid.GroupOf((piece.First + start) / size);
            float inverse = group.Inverse;
            if (inverse == 0) continue;
            for (int i = start; i < start + size; i++)
            {
                float diagonal = piece.Hessian[(i * piece.Size) + i];
                if (!(diagonal > 0)) continue;
                int code = _shape.Levels.Code(group.Place(piece.Values[i] - (piece.Gradient[i] / diagonal), inverse));
                ref byte own = ref _grid.Codes[piece.First + i];
                if (code == own) continue;
                own = (byte)code;
                piece.Move(i, group.Value(_shape.Levels[code]));
                isChanged = true;
            }
        }

        return isChanged;
    }

    // The group's part of the loss is (v − t) Hⱼⱼ (v − t)ᵀ with t = v − inv(Hⱼⱼ) g, the optimum with all other groups as they are.
    private bool TryNeighbours(Piece piece, int start)
    {
        int size = _shape.Group, group = (piece.First + start) / size, block = group / _shape.Groups, column = piece.Column + start;
        ReadOnlySpan<float> inverse = _factors.Inverse.AsSpan(column * size, size * size), gradient = piece.Gradient.Slice(start, size);
        float current = 0;
        for (int i = 0; i < size; i++)
        {
            float step = Rows.Dot(inverse.Slice(i * size, size), gradient);
            _optimum[i] = piece.Values[start + i] - step;
            current += step * gradient[i];
        }

        float best = current * (1 - Gain);
        Parameters own = new(_grid.BlockScales[block], _grid.BlockMinima[block], _grid.GroupScales[group], _grid.GroupMinima[group], _grid.GroupZeros[group]), found = own;
        bool isFound = false;
        for (int step = -1; step <= 1; step++)
            for (int other = -1; other <= 1; other++)
                if (Neighbour(own, step, other) is { } tried && TryRound(tried.Group, column, ref best))
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
            _grid.Codes[piece.First + start + i] = _bestCodes[i];
            piece.Move(start + i, chosen.Value(_shape.Levels[_bestCodes[i]]));
        }

        return true;
    }

    // Whole scale and minimum, or scale and zero or offset, a step away; null where there is no such.
    private Parameters? Neighbour(Parameters own, int step, int other)
    {
        if (_grid.IsFixed) return step == 0 && other == 0 ? own : null;
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
    private bool TryRound(AffineGroup group, int column, ref float best)
    {
        float inverse = group.Inverse;
        if (inverse == 0) return false;
        int size = _shape.Group;
        ReadOnlySpan<float> upper = _factors.Upper.AsSpan(column * size, size * size);
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
    private bool FitBlock(Piece piece, int start)
    {
        int size = _shape.Group, length = _shape.Block, first = piece.First + start, block = first / length;
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
            ReadOnlySpan<float> part = piece.Hessian.Slice(((start + i) * piece.Size) + start, length);
            Rows.Add(part, _slope[i], _product);
            if (hasMin) Rows.Add(part, _minSlope[i], _minProduct);
        }

        ReadOnlySpan<float> gradient = piece.Gradient.Slice(start, length);
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
        if ((!_shape.IsSigned && !(newD > 0)) || (!_shape.HasOffset && newDmin < 0)) return false;
        (step, minStep) = ((double)newD - d, (double)newDmin - dmin);
        double change = (2 * ((step * ug) + (minStep * vg))) + (step * step * uu) + (2 * step * minStep * uv) + (minStep * minStep * vv);
        if (!(change < 0)) return false;
        (_grid.BlockScales[block], _grid.BlockMinima[block]) = (newD, newDmin);
        for (int i = 0; i < length; i++)
            piece.Move(start + i, _grid.GroupOf((first + i) / size).Value(_shape.Levels[_grid.Codes[first + i]]));
        return true;
    }

    private readonly record struct Parameters(float D, float Dmin, int Scale, int Min, int Zero)
    {
        public AffineGroup Group => new(D * Scale, Zero, Dmin * Min);
    }

    /// <summary>Some columns of one row.</summary>
    private readonly ref struct Piece(int first, ReadOnlySpan<float> hessian, int column, Span<float> values, Span<float> gradient, Span<float> steps)
    {
        /// <summary>The place of the first weight in the matrix.</summary>
        public readonly int First = first;

        /// <summary>The first column.</summary>
        public readonly int Column = column;

        /// <summary>[size x size] the piece's own part of H.</summary>
        public readonly ReadOnlySpan<float> Hessian = hessian;

        /// <summary>[size] values of the codes.</summary>
        public readonly Span<float> Values = values;

        /// <summary>[size] g.</summary>
        public readonly Span<float> Gradient = gradient;

        /// <summary>[size] how far the values have moved.</summary>
        public readonly Span<float> Steps = steps;

        /// <summary>Columns.</summary>
        public int Size => Values.Length;

        /// <summary>Moves a value, and the piece's gradient with it.</summary>
        public void Move(int i, float value)
        {
            float step = value - Values[i];
            if (step == 0) return;
            Values[i] = value;
            Steps[i] += step;
            Rows.Add(Hessian.Slice(i * Size, Size), step, Gradient);
        }
    }
}
