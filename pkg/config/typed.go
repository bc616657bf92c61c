package config

import (
	"net/netip"

	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Settings are a valid Config with its values parsed. Config.Settings is the only place that parses them.
type Settings struct {
	*Config
	// PodCIDRs are the addresses of pods, for DetectLocalMode ClusterCIDR. A family without one is not in it.
	PodCIDRs map[service.Family]netip.Prefix
	// NodePorts selects the node's addresses that node ports answer on.
	NodePorts node.Selection
	// Variant is the variant of iptables to use.
	Variant xtables.Variant
	// Excluded are the ranges of virtual servers that are never deleted. In iptables mode, where only the take-over from kube-proxy needs
	// them, ExcludedErr says that they are invalid.
	Excluded    []netip.Prefix
	ExcludedErr error
	// Healthz and Metrics are the addresses to serve health checks and metrics at. Zero: not served. An unspecified address means all
	// addresses of both IP families.
	Healthz, Metrics netip.AddrPort
}

// Settings parses and validates. Its error lists everything that is wrong with the settings that are in use: settings of another mode
// may be invalid until that mode is configured.
func (c *Config) Settings() (*Settings, error) {
	f := findings{named: c.Named}
	s := &Settings{Config: c, Variant: xtables.Variant(c.IPTables.Variant)}
	s.PodCIDRs = c.parsePodCIDRs(&f)
	s.NodePorts = c.parseNodePorts(&f)
	s.Excluded, s.ExcludedErr = parseRanges(c.IPVS.ExcludeCIDRs)
	if s.ExcludedErr != nil && c.Mode.uses(ModeIPVS) {
		f.add("ipvs-exclude-cidrs", "%w", s.ExcludedErr)
	}
	s.Healthz = parseBindAddress(&f, "healthz-bind-address", c.HTTP.HealthzBindAddress, HealthzPort)
	s.Metrics = parseBindAddress(&f, "metrics-bind-address", c.HTTP.MetricsBindAddress, MetricsPort)
	c.validate(&f)
	if err := f.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Validate returns everything that is wrong with the settings that are in use, see Settings.
func (c *Config) Validate() error {
	_, err := c.Settings()
	return err
}
