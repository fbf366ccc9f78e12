namespace Antiphon;

/// <summary>How far loading a model is.</summary>
/// <param name="Stage">What is being done, in two or three words.</param>
/// <param name="Fraction">Share of the whole that is done, 0 to 1.</param>
public readonly record struct LoadProgress(string Stage, double Fraction);
