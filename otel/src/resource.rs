//! What a collector is told about the process itself.

use crate::{
    settings::Settings,
    span::{Value, attribute},
};
use opentelemetry_proto::tonic::{common::v1::InstrumentationScope, resource::v1::Resource};
use std::collections::BTreeMap;

/// A process, as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is called unless the settings say otherwise, as `portico-node`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Which of them it is.
    pub instance: String,
}

// === impl Service ===

impl Service {
    /// What is known of the process; what the settings say goes before that.
    pub(crate) fn resource(&self, settings: &Settings) -> Resource {
        let machine = rustix::system::uname();
        let mut attributes: BTreeMap<String, String> = BTreeMap::from(
            [
                ("service.name", self.name),
                ("service.version", self.version),
                ("service.instance.id", &self.instance),
                ("host.name", &machine.nodename().to_string_lossy()),
            ]
            .map(|(name, value)| (name.to_string(), value.to_string())),
        );
        let given = settings.otel_resource_attributes.iter().flat_map(|given| given.pairs());
        let name = settings.otel_service_name.as_deref().filter(|name| !name.is_empty());
        // The last one wins, so the name that has a variable of its own does.
        for (name, value) in given.chain(name.map(|name| ("service.name", name))) {
            attributes.insert(name.into(), value.into());
        }
        let attributes = attributes.into_iter().map(|(name, value)| attribute(&name, &Value::from(value)));
        Resource { attributes: attributes.collect(), ..Resource::default() }
    }

    /// Who measured.
    pub(crate) fn scope(&self) -> InstrumentationScope {
        InstrumentationScope { name: "portico".into(), version: self.version.into(), ..InstrumentationScope::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Attributes;
    use opentelemetry_proto::tonic::common::v1::any_value;

    fn check(settings: &Settings, name: &str, expect: Option<&str>) {
        let service = Service { name: "portico-node", version: "1", instance: "n1".into() };
        let resource = service.resource(settings);
        let found = resource.attributes.iter().find(|attribute| attribute.key == name);
        let value = found.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value);
        assert_eq!(value, expect.map(|text| any_value::Value::StringValue(text.into())), "{name}");
    }

    #[test]
    fn what_the_settings_say_goes_first() {
        let mut settings = Settings::default();
        check(&settings, "service.name", Some("portico-node"));
        check(&settings, "service.instance.id", Some("n1"));
        check(&settings, "deployment.environment.name", None);
        let given = "service.name=a,deployment.environment.name=pre%20prod";
        settings.otel_resource_attributes = Attributes::parse(given).ok();
        check(&settings, "service.name", Some("a"));
        check(&settings, "deployment.environment.name", Some("pre prod"));
        settings.otel_service_name = Some("b".into());
        check(&settings, "service.name", Some("b"));
    }
}
