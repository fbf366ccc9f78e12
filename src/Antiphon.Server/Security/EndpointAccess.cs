namespace Antiphon.Server;

/// <summary>Who may call an endpoint. An endpoint without this metadata needs a key: access is denied by default.</summary>
internal enum EndpointAccess
{
    /// <summary>Any configured key.</summary>
    Key,

    /// <summary>Nobody is asked.</summary>
    Public,

    /// <summary>A management key, and only on the management port.</summary>
    Admin,
}

/// <summary>The metadata.</summary>
internal sealed record EndpointAccessMetadata(EndpointAccess Access);
