package config

import (
	"bytes"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

// YAML returns the settings as a configuration file: kube-proxy's document, and then Fairlead's, which kube-proxy does not read.
func (c *Config) YAML() ([]byte, error) {
	proxy, err := yaml.Marshal(c.KubeProxy())
	if err != nil {
		return nil, fmt.Errorf("encode a %s: %w", kubeProxyKind, err)
	}
	own, err := yaml.Marshal(c.Own())
	if err != nil {
		return nil, fmt.Errorf("encode a %s: %w", ownKind, err)
	}
	return bytes.Join([][]byte{proxy, own}, []byte("---\n")), nil
}

// WriteFile writes the settings to a file that --config can read.
func (c *Config) WriteFile(path string) error {
	data, err := c.YAML()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	return nil
}
