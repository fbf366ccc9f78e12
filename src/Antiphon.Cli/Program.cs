using Antiphon.Cli;

return await AntiphonCommand.RunAsync(args, Terminal.OfProcess()).ConfigureAwait(false);
