namespace Antiphon.Kernels;

/// <summary>What a kernel for tiles of dot products is told: some tiles of a panel, some columns of them, and a group of tokens.</summary>
internal unsafe struct TileArguments
{
    public const int WeightsField = 0;
    public const int InputField = 1;
    public const int SumsField = 2;
    public const int StepsField = 3;
    public const int TilesField = 4;
    public const int TileBytesField = 5;
    public const int AddField = 6;
    public const int FinishField = 7;
    public const int OutputField = 8;
    public const int OutputStrideField = 9;
    public const int RowBytesField = 10;
    public const int InputStrideField = 11;
    public const int ColumnBytesField = 12;
    public const int AheadField = 13;
    public const int AheadStepField = 14;
    public const int PanelField = 15;
    public const int FactorsField = 16;
    public const int FactorRowBytesField = 17;

    /// <summary>The weights of the first tile. In a panel: for every sixteen columns (a step) the lanes of each of its rows. Else its rows as they are stored.</summary>
    public void* Weights;

    /// <summary>The input of the first group: for every step the lanes of each of its tokens. See <see cref="TokenGroups"/>.</summary>
    public float* Input;

    /// <summary>Sixteen lanes for each [tile, token, row].</summary>
    public float* Sums;

    /// <summary>Number of steps, at least 1.</summary>
    public long Steps;

    /// <summary>Number of tiles, at least 1; a kernel counts it down, and moves <see cref="Output"/> and <see cref="Factors"/>.</summary>
    public long Tiles;

    /// <summary>From a tile's weights to the next one's.</summary>
    public long TileBytes;

    /// <summary>0: sums begin here; else these products are added to what is there.</summary>
    public long Add;

    /// <summary>0: sums are left in <see cref="Sums"/>, which a kernel may also use otherwise; else their lanes are added up.</summary>
    public long Finish;

    /// <summary>Receives the finished results [token, tile, row].</summary>
    public float* Output;

    /// <summary>Bytes from a token's results to the next one's.</summary>
    public long OutputStride;

    /// <summary>Bytes of a row that is not in a panel.</summary>
    public long RowBytes;

    /// <summary>Bytes of a token's input.</summary>
    public long InputStride;

    /// <summary>Bytes of the columns before the first one, in a token's input.</summary>
    public long ColumnBytes;

    /// <summary>What to fetch meanwhile: any address. A single group fetches as many bytes as it reads of blocks; of plain numbers it takes the next tile (and what is here besides, where decoding is cheap), of a panel nothing.</summary>
    public void* Ahead;

    /// <summary>How far several groups, or one that decodes cheaply, go on with fetching after each step of each of them (on AVX2: of each half; of <see cref="TileWeights.BF16Shared"/>: three times in four steps).</summary>
    public long AheadStep;

    /// <summary>Room for the numbers of a tile, in which the first of several groups leaves them to the others.</summary>
    public float* Panel;

    /// <summary>The scales of the first row's blocks. See <see cref="IBlocks{T}.Prepare"/>.</summary>
    public float* Factors;

    /// <summary>Bytes from a row's scales to the next row's.</summary>
    public long FactorRowBytes;
}
