{{- /*
Where the probes ask. The port is that of config.healthzBindAddress, or, as in Fairlead, kube-proxy's where it has none. kubelet asks at the
node's address unless it is told another one, which it is where that is the only one to listen.
*/ -}}
{{- define "fairlead.probed" -}}
{{- $address := .Values.config.healthzBindAddress | default "" -}}
{{- $withPort := `^([^:]*|\[.*\]):([0-9]+)$` -}}
{{- $host := regexReplaceAll $withPort $address "${1}" | trimAll "[]" -}}
{{- if not (regexMatch `^[0:.]*$` $host) -}}
host: {{ $host | quote }}
{{ end -}}
port: {{ regexFind $withPort $address | splitList ":" | last | default "10256" }}
{{- end -}}
