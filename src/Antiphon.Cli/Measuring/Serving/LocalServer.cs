using System.Net;
using Antiphon.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Antiphon.Cli;

/// <summary>Our server inside this process, on a free port of this machine, with one model that the caller keeps.</summary>
internal static class LocalServer
{
    /// <summary>Starts it; requests are taken at once.</summary>
    /// <param name="model">The model; the server disposes it.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async Task<(WebApplication App, Uri Address)> StartAsync(LanguageModel model, CancellationToken cancellationToken)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddAntiphon(server => server.Models.Add(new ServedModelOptions
        {
            Id = "model",
            Path = "(loaded)",
            Loader = (_, _) => Task.FromResult(model),
        }));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Listen(IPAddress.Loopback, 0);
        });
        WebApplication app = builder.Build();
        try
        {
            app.MapAntiphon();
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
            return (app, new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()));
        }
        catch
        {
            await app.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
