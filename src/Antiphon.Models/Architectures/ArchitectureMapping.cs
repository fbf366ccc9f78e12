namespace Antiphon.Models;

/// <summary>What a model file says, once its architecture is understood: the spec, and where its weights are.</summary>
internal sealed record ArchitectureMapping(ModelSpec Spec, TensorNames Tensors);
