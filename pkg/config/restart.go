package config

// NeedRestart names the settings that differ and only apply after a restart. Settings of ipvs mode apply when that mode is switched to.
func NeedRestart(former, next *Config) []string {
	inIPVSMode := former.Mode.uses(ModeIPVS) && next.Mode.uses(ModeIPVS)
	var names []string
	for _, s := range differing(former, next) {
		if s.live || s.ofIPVS() && !inIPVSMode {
			continue
		}
		names = append(names, next.Named(s.flag))
	}
	return names
}
