package main

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/fairlead"
)

func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Follow the cluster and forward its traffic, until told to stop; the rules stay",
		Args:  cobra.NoArgs,
	}
	line := config.NewCommandLine(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), line) }
	return cmd
}

// run does what the command line asks for.
func run(ctx context.Context, line *config.CommandLine) error {
	c, err := line.Load(klog.FromContext(ctx))
	switch {
	case err != nil:
		return err
	case line.WriteTo != "":
		return c.WriteFile(line.WriteTo)
	case line.Cleanup:
		return fairlead.Cleanup(ctx)
	case c.InitOnly:
		return fairlead.Init(ctx, c)
	}
	return fairlead.Run(ctx, c, fairlead.WithChanges(config.Watch(ctx, line, c)))
}
