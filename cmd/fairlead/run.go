package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/fairlead"
)

func newRunCommand(c *config.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Follow the cluster and forward its traffic, until told to stop; the rules stay",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fairlead.Run(cmd.Context(), c)
		},
	}
	c.AddFlags(cmd.Flags())
	return cmd
}
