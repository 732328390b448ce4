impl serde::Serialize for Cause {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.kind.is_empty() {
            len += 1;
        }
        if !self.id.is_empty() {
            len += 1;
        }
        if !self.sentence.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Cause", len)?;
        if !self.kind.is_empty() {
            struct_ser.serialize_field("kind", &self.kind)?;
        }
        if !self.id.is_empty() {
            struct_ser.serialize_field("id", &self.id)?;
        }
        if !self.sentence.is_empty() {
            struct_ser.serialize_field("sentence", &self.sentence)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Cause {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "kind",
            "id",
            "sentence",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Kind,
            Id,
            Sentence,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "kind" => Ok(GeneratedField::Kind),
                            "id" => Ok(GeneratedField::Id),
                            "sentence" => Ok(GeneratedField::Sentence),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Cause;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Cause")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Cause, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut kind__ = None;
                let mut id__ = None;
                let mut sentence__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Kind => {
                            if kind__.is_some() {
                                return Err(serde::de::Error::duplicate_field("kind"));
                            }
                            kind__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Id => {
                            if id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("id"));
                            }
                            id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Sentence => {
                            if sentence__.is_some() {
                                return Err(serde::de::Error::duplicate_field("sentence"));
                            }
                            sentence__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Cause {
                    kind: kind__.unwrap_or_default(),
                    id: id__.unwrap_or_default(),
                    sentence: sentence__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Cause", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Change {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.kind.is_empty() {
            len += 1;
        }
        if !self.previous_class.is_empty() {
            len += 1;
        }
        if self.finding.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Change", len)?;
        if !self.kind.is_empty() {
            struct_ser.serialize_field("kind", &self.kind)?;
        }
        if !self.previous_class.is_empty() {
            struct_ser.serialize_field("previousClass", &self.previous_class)?;
        }
        if let Some(v) = self.finding.as_ref() {
            struct_ser.serialize_field("finding", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Change {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "kind",
            "previous_class",
            "previousClass",
            "finding",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Kind,
            PreviousClass,
            Finding,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "kind" => Ok(GeneratedField::Kind),
                            "previousClass" | "previous_class" => Ok(GeneratedField::PreviousClass),
                            "finding" => Ok(GeneratedField::Finding),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Change;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Change")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Change, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut kind__ = None;
                let mut previous_class__ = None;
                let mut finding__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Kind => {
                            if kind__.is_some() {
                                return Err(serde::de::Error::duplicate_field("kind"));
                            }
                            kind__ = Some(map_.next_value()?);
                        }
                        GeneratedField::PreviousClass => {
                            if previous_class__.is_some() {
                                return Err(serde::de::Error::duplicate_field("previousClass"));
                            }
                            previous_class__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Finding => {
                            if finding__.is_some() {
                                return Err(serde::de::Error::duplicate_field("finding"));
                            }
                            finding__ = map_.next_value()?;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Change {
                    kind: kind__.unwrap_or_default(),
                    previous_class: previous_class__.unwrap_or_default(),
                    finding: finding__,
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Change", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for ClusterChanged {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.cluster.is_empty() {
            len += 1;
        }
        if !self.mode.is_empty() {
            len += 1;
        }
        if !self.scope.is_empty() {
            len += 1;
        }
        if !self.objects.is_empty() {
            len += 1;
        }
        if self.count != 0 {
            len += 1;
        }
        if !self.actor.is_empty() {
            len += 1;
        }
        if self.at != 0 {
            len += 1;
        }
        if !self.images.is_empty() {
            len += 1;
        }
        if !self.namespaces.is_empty() {
            len += 1;
        }
        if self.partial {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.ClusterChanged", len)?;
        if !self.cluster.is_empty() {
            struct_ser.serialize_field("cluster", &self.cluster)?;
        }
        if !self.mode.is_empty() {
            struct_ser.serialize_field("mode", &self.mode)?;
        }
        if !self.scope.is_empty() {
            struct_ser.serialize_field("scope", &self.scope)?;
        }
        if !self.objects.is_empty() {
            struct_ser.serialize_field("objects", &self.objects)?;
        }
        if self.count != 0 {
            struct_ser.serialize_field("count", &self.count)?;
        }
        if !self.actor.is_empty() {
            struct_ser.serialize_field("actor", &self.actor)?;
        }
        if self.at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("at", ToString::to_string(&self.at).as_str())?;
        }
        if !self.images.is_empty() {
            struct_ser.serialize_field("images", &self.images)?;
        }
        if !self.namespaces.is_empty() {
            struct_ser.serialize_field("namespaces", &self.namespaces)?;
        }
        if self.partial {
            struct_ser.serialize_field("partial", &self.partial)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ClusterChanged {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "cluster",
            "mode",
            "scope",
            "objects",
            "count",
            "actor",
            "at",
            "images",
            "namespaces",
            "partial",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Cluster,
            Mode,
            Scope,
            Objects,
            Count,
            Actor,
            At,
            Images,
            Namespaces,
            Partial,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "cluster" => Ok(GeneratedField::Cluster),
                            "mode" => Ok(GeneratedField::Mode),
                            "scope" => Ok(GeneratedField::Scope),
                            "objects" => Ok(GeneratedField::Objects),
                            "count" => Ok(GeneratedField::Count),
                            "actor" => Ok(GeneratedField::Actor),
                            "at" => Ok(GeneratedField::At),
                            "images" => Ok(GeneratedField::Images),
                            "namespaces" => Ok(GeneratedField::Namespaces),
                            "partial" => Ok(GeneratedField::Partial),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ClusterChanged;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.ClusterChanged")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ClusterChanged, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut cluster__ = None;
                let mut mode__ = None;
                let mut scope__ = None;
                let mut objects__ = None;
                let mut count__ = None;
                let mut actor__ = None;
                let mut at__ = None;
                let mut images__ = None;
                let mut namespaces__ = None;
                let mut partial__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Cluster => {
                            if cluster__.is_some() {
                                return Err(serde::de::Error::duplicate_field("cluster"));
                            }
                            cluster__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Mode => {
                            if mode__.is_some() {
                                return Err(serde::de::Error::duplicate_field("mode"));
                            }
                            mode__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Scope => {
                            if scope__.is_some() {
                                return Err(serde::de::Error::duplicate_field("scope"));
                            }
                            scope__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Objects => {
                            if objects__.is_some() {
                                return Err(serde::de::Error::duplicate_field("objects"));
                            }
                            objects__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Count => {
                            if count__.is_some() {
                                return Err(serde::de::Error::duplicate_field("count"));
                            }
                            count__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Actor => {
                            if actor__.is_some() {
                                return Err(serde::de::Error::duplicate_field("actor"));
                            }
                            actor__ = Some(map_.next_value()?);
                        }
                        GeneratedField::At => {
                            if at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("at"));
                            }
                            at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Images => {
                            if images__.is_some() {
                                return Err(serde::de::Error::duplicate_field("images"));
                            }
                            images__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Namespaces => {
                            if namespaces__.is_some() {
                                return Err(serde::de::Error::duplicate_field("namespaces"));
                            }
                            namespaces__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Partial => {
                            if partial__.is_some() {
                                return Err(serde::de::Error::duplicate_field("partial"));
                            }
                            partial__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(ClusterChanged {
                    cluster: cluster__.unwrap_or_default(),
                    mode: mode__.unwrap_or_default(),
                    scope: scope__.unwrap_or_default(),
                    objects: objects__.unwrap_or_default(),
                    count: count__.unwrap_or_default(),
                    actor: actor__.unwrap_or_default(),
                    at: at__.unwrap_or_default(),
                    images: images__.unwrap_or_default(),
                    namespaces: namespaces__.unwrap_or_default(),
                    partial: partial__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.ClusterChanged", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for DbUpdated {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.seq != 0 {
            len += 1;
        }
        if !self.artifact.is_empty() {
            len += 1;
        }
        if self.at != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.DbUpdated", len)?;
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if !self.artifact.is_empty() {
            struct_ser.serialize_field("artifact", &self.artifact)?;
        }
        if self.at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("at", ToString::to_string(&self.at).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for DbUpdated {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "seq",
            "artifact",
            "at",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Seq,
            Artifact,
            At,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "seq" => Ok(GeneratedField::Seq),
                            "artifact" => Ok(GeneratedField::Artifact),
                            "at" => Ok(GeneratedField::At),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = DbUpdated;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.DbUpdated")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<DbUpdated, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut seq__ = None;
                let mut artifact__ = None;
                let mut at__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Artifact => {
                            if artifact__.is_some() {
                                return Err(serde::de::Error::duplicate_field("artifact"));
                            }
                            artifact__ = Some(map_.next_value()?);
                        }
                        GeneratedField::At => {
                            if at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("at"));
                            }
                            at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(DbUpdated {
                    seq: seq__.unwrap_or_default(),
                    artifact: artifact__.unwrap_or_default(),
                    at: at__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.DbUpdated", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Factors {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.exploited {
            len += 1;
        }
        if self.exposed {
            len += 1;
        }
        if !self.level.is_empty() {
            len += 1;
        }
        if !self.unproved.is_empty() {
            len += 1;
        }
        if self.automatable {
            len += 1;
        }
        if self.total_impact {
            len += 1;
        }
        if !self.assumed.is_empty() {
            len += 1;
        }
        if self.threat != 0. {
            len += 1;
        }
        if self.epss.is_some() {
            len += 1;
        }
        if self.reaches != 0 {
            len += 1;
        }
        if !self.modifiers.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Factors", len)?;
        if self.exploited {
            struct_ser.serialize_field("exploited", &self.exploited)?;
        }
        if self.exposed {
            struct_ser.serialize_field("exposed", &self.exposed)?;
        }
        if !self.level.is_empty() {
            struct_ser.serialize_field("level", &self.level)?;
        }
        if !self.unproved.is_empty() {
            struct_ser.serialize_field("unproved", &self.unproved)?;
        }
        if self.automatable {
            struct_ser.serialize_field("automatable", &self.automatable)?;
        }
        if self.total_impact {
            struct_ser.serialize_field("totalImpact", &self.total_impact)?;
        }
        if !self.assumed.is_empty() {
            struct_ser.serialize_field("assumed", &self.assumed)?;
        }
        if self.threat != 0. {
            struct_ser.serialize_field("threat", &self.threat)?;
        }
        if let Some(v) = self.epss.as_ref() {
            struct_ser.serialize_field("epss", v)?;
        }
        if self.reaches != 0 {
            struct_ser.serialize_field("reaches", &self.reaches)?;
        }
        if !self.modifiers.is_empty() {
            struct_ser.serialize_field("modifiers", &self.modifiers)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Factors {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "exploited",
            "exposed",
            "level",
            "unproved",
            "automatable",
            "total_impact",
            "totalImpact",
            "assumed",
            "threat",
            "epss",
            "reaches",
            "modifiers",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Exploited,
            Exposed,
            Level,
            Unproved,
            Automatable,
            TotalImpact,
            Assumed,
            Threat,
            Epss,
            Reaches,
            Modifiers,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "exploited" => Ok(GeneratedField::Exploited),
                            "exposed" => Ok(GeneratedField::Exposed),
                            "level" => Ok(GeneratedField::Level),
                            "unproved" => Ok(GeneratedField::Unproved),
                            "automatable" => Ok(GeneratedField::Automatable),
                            "totalImpact" | "total_impact" => Ok(GeneratedField::TotalImpact),
                            "assumed" => Ok(GeneratedField::Assumed),
                            "threat" => Ok(GeneratedField::Threat),
                            "epss" => Ok(GeneratedField::Epss),
                            "reaches" => Ok(GeneratedField::Reaches),
                            "modifiers" => Ok(GeneratedField::Modifiers),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Factors;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Factors")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Factors, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut exploited__ = None;
                let mut exposed__ = None;
                let mut level__ = None;
                let mut unproved__ = None;
                let mut automatable__ = None;
                let mut total_impact__ = None;
                let mut assumed__ = None;
                let mut threat__ = None;
                let mut epss__ = None;
                let mut reaches__ = None;
                let mut modifiers__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Exploited => {
                            if exploited__.is_some() {
                                return Err(serde::de::Error::duplicate_field("exploited"));
                            }
                            exploited__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Exposed => {
                            if exposed__.is_some() {
                                return Err(serde::de::Error::duplicate_field("exposed"));
                            }
                            exposed__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Level => {
                            if level__.is_some() {
                                return Err(serde::de::Error::duplicate_field("level"));
                            }
                            level__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Unproved => {
                            if unproved__.is_some() {
                                return Err(serde::de::Error::duplicate_field("unproved"));
                            }
                            unproved__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Automatable => {
                            if automatable__.is_some() {
                                return Err(serde::de::Error::duplicate_field("automatable"));
                            }
                            automatable__ = Some(map_.next_value()?);
                        }
                        GeneratedField::TotalImpact => {
                            if total_impact__.is_some() {
                                return Err(serde::de::Error::duplicate_field("totalImpact"));
                            }
                            total_impact__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Assumed => {
                            if assumed__.is_some() {
                                return Err(serde::de::Error::duplicate_field("assumed"));
                            }
                            assumed__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Threat => {
                            if threat__.is_some() {
                                return Err(serde::de::Error::duplicate_field("threat"));
                            }
                            threat__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Epss => {
                            if epss__.is_some() {
                                return Err(serde::de::Error::duplicate_field("epss"));
                            }
                            epss__ = 
                                map_.next_value::<::std::option::Option<::pbjson::private::NumberDeserialize<_>>>()?.map(|x| x.0)
                            ;
                        }
                        GeneratedField::Reaches => {
                            if reaches__.is_some() {
                                return Err(serde::de::Error::duplicate_field("reaches"));
                            }
                            reaches__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Modifiers => {
                            if modifiers__.is_some() {
                                return Err(serde::de::Error::duplicate_field("modifiers"));
                            }
                            modifiers__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Factors {
                    exploited: exploited__.unwrap_or_default(),
                    exposed: exposed__.unwrap_or_default(),
                    level: level__.unwrap_or_default(),
                    unproved: unproved__.unwrap_or_default(),
                    automatable: automatable__.unwrap_or_default(),
                    total_impact: total_impact__.unwrap_or_default(),
                    assumed: assumed__.unwrap_or_default(),
                    threat: threat__.unwrap_or_default(),
                    epss: epss__,
                    reaches: reaches__.unwrap_or_default(),
                    modifiers: modifiers__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Factors", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Failure {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.code.is_empty() {
            len += 1;
        }
        if !self.detail.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Failure", len)?;
        if !self.code.is_empty() {
            struct_ser.serialize_field("code", &self.code)?;
        }
        if !self.detail.is_empty() {
            struct_ser.serialize_field("detail", &self.detail)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Failure {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "code",
            "detail",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Code,
            Detail,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "code" => Ok(GeneratedField::Code),
                            "detail" => Ok(GeneratedField::Detail),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Failure;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Failure")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Failure, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut code__ = None;
                let mut detail__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Code => {
                            if code__.is_some() {
                                return Err(serde::de::Error::duplicate_field("code"));
                            }
                            code__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Detail => {
                            if detail__.is_some() {
                                return Err(serde::de::Error::duplicate_field("detail"));
                            }
                            detail__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Failure {
                    code: code__.unwrap_or_default(),
                    detail: detail__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Failure", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Finding {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.id.is_empty() {
            len += 1;
        }
        if !self.vulnerability_id.is_empty() {
            len += 1;
        }
        if self.package.is_some() {
            len += 1;
        }
        if self.holder.is_some() {
            len += 1;
        }
        if self.revision != 0 {
            len += 1;
        }
        if !self.state.is_empty() {
            len += 1;
        }
        if !self.class.is_empty() {
            len += 1;
        }
        if self.rank != 0. {
            len += 1;
        }
        if self.factors.is_some() {
            len += 1;
        }
        if !self.sentence.is_empty() {
            len += 1;
        }
        if self.vulnerability.is_some() {
            len += 1;
        }
        if !self.versions.is_empty() {
            len += 1;
        }
        if self.fixed.is_some() {
            len += 1;
        }
        if !self.status.is_empty() {
            len += 1;
        }
        if !self.images.is_empty() {
            len += 1;
        }
        if !self.advisory.is_empty() {
            len += 1;
        }
        if !self.opened_at.is_empty() {
            len += 1;
        }
        if !self.due.is_empty() {
            len += 1;
        }
        if self.db_seq != 0 {
            len += 1;
        }
        if !self.evidence.is_empty() {
            len += 1;
        }
        if !self.suppressions.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Finding", len)?;
        if !self.id.is_empty() {
            struct_ser.serialize_field("id", &self.id)?;
        }
        if !self.vulnerability_id.is_empty() {
            struct_ser.serialize_field("vulnerabilityId", &self.vulnerability_id)?;
        }
        if let Some(v) = self.package.as_ref() {
            struct_ser.serialize_field("package", v)?;
        }
        if let Some(v) = self.holder.as_ref() {
            struct_ser.serialize_field("holder", v)?;
        }
        if self.revision != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("revision", ToString::to_string(&self.revision).as_str())?;
        }
        if !self.state.is_empty() {
            struct_ser.serialize_field("state", &self.state)?;
        }
        if !self.class.is_empty() {
            struct_ser.serialize_field("class", &self.class)?;
        }
        if self.rank != 0. {
            struct_ser.serialize_field("rank", &self.rank)?;
        }
        if let Some(v) = self.factors.as_ref() {
            struct_ser.serialize_field("factors", v)?;
        }
        if !self.sentence.is_empty() {
            struct_ser.serialize_field("sentence", &self.sentence)?;
        }
        if let Some(v) = self.vulnerability.as_ref() {
            struct_ser.serialize_field("vulnerability", v)?;
        }
        if !self.versions.is_empty() {
            struct_ser.serialize_field("versions", &self.versions)?;
        }
        if let Some(v) = self.fixed.as_ref() {
            struct_ser.serialize_field("fixed", v)?;
        }
        if !self.status.is_empty() {
            struct_ser.serialize_field("status", &self.status)?;
        }
        if !self.images.is_empty() {
            struct_ser.serialize_field("images", &self.images)?;
        }
        if !self.advisory.is_empty() {
            struct_ser.serialize_field("advisory", &self.advisory)?;
        }
        if !self.opened_at.is_empty() {
            struct_ser.serialize_field("openedAt", &self.opened_at)?;
        }
        if !self.due.is_empty() {
            struct_ser.serialize_field("due", &self.due)?;
        }
        if self.db_seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("dbSeq", ToString::to_string(&self.db_seq).as_str())?;
        }
        if !self.evidence.is_empty() {
            struct_ser.serialize_field("evidence", &self.evidence)?;
        }
        if !self.suppressions.is_empty() {
            struct_ser.serialize_field("suppressions", &self.suppressions)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Finding {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "id",
            "vulnerability_id",
            "vulnerabilityId",
            "package",
            "holder",
            "revision",
            "state",
            "class",
            "rank",
            "factors",
            "sentence",
            "vulnerability",
            "versions",
            "fixed",
            "status",
            "images",
            "advisory",
            "opened_at",
            "openedAt",
            "due",
            "db_seq",
            "dbSeq",
            "evidence",
            "suppressions",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Id,
            VulnerabilityId,
            Package,
            Holder,
            Revision,
            State,
            Class,
            Rank,
            Factors,
            Sentence,
            Vulnerability,
            Versions,
            Fixed,
            Status,
            Images,
            Advisory,
            OpenedAt,
            Due,
            DbSeq,
            Evidence,
            Suppressions,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "id" => Ok(GeneratedField::Id),
                            "vulnerabilityId" | "vulnerability_id" => Ok(GeneratedField::VulnerabilityId),
                            "package" => Ok(GeneratedField::Package),
                            "holder" => Ok(GeneratedField::Holder),
                            "revision" => Ok(GeneratedField::Revision),
                            "state" => Ok(GeneratedField::State),
                            "class" => Ok(GeneratedField::Class),
                            "rank" => Ok(GeneratedField::Rank),
                            "factors" => Ok(GeneratedField::Factors),
                            "sentence" => Ok(GeneratedField::Sentence),
                            "vulnerability" => Ok(GeneratedField::Vulnerability),
                            "versions" => Ok(GeneratedField::Versions),
                            "fixed" => Ok(GeneratedField::Fixed),
                            "status" => Ok(GeneratedField::Status),
                            "images" => Ok(GeneratedField::Images),
                            "advisory" => Ok(GeneratedField::Advisory),
                            "openedAt" | "opened_at" => Ok(GeneratedField::OpenedAt),
                            "due" => Ok(GeneratedField::Due),
                            "dbSeq" | "db_seq" => Ok(GeneratedField::DbSeq),
                            "evidence" => Ok(GeneratedField::Evidence),
                            "suppressions" => Ok(GeneratedField::Suppressions),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Finding;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Finding")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Finding, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut id__ = None;
                let mut vulnerability_id__ = None;
                let mut package__ = None;
                let mut holder__ = None;
                let mut revision__ = None;
                let mut state__ = None;
                let mut class__ = None;
                let mut rank__ = None;
                let mut factors__ = None;
                let mut sentence__ = None;
                let mut vulnerability__ = None;
                let mut versions__ = None;
                let mut fixed__ = None;
                let mut status__ = None;
                let mut images__ = None;
                let mut advisory__ = None;
                let mut opened_at__ = None;
                let mut due__ = None;
                let mut db_seq__ = None;
                let mut evidence__ = None;
                let mut suppressions__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Id => {
                            if id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("id"));
                            }
                            id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::VulnerabilityId => {
                            if vulnerability_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("vulnerabilityId"));
                            }
                            vulnerability_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Package => {
                            if package__.is_some() {
                                return Err(serde::de::Error::duplicate_field("package"));
                            }
                            package__ = map_.next_value()?;
                        }
                        GeneratedField::Holder => {
                            if holder__.is_some() {
                                return Err(serde::de::Error::duplicate_field("holder"));
                            }
                            holder__ = map_.next_value()?;
                        }
                        GeneratedField::Revision => {
                            if revision__.is_some() {
                                return Err(serde::de::Error::duplicate_field("revision"));
                            }
                            revision__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::State => {
                            if state__.is_some() {
                                return Err(serde::de::Error::duplicate_field("state"));
                            }
                            state__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Class => {
                            if class__.is_some() {
                                return Err(serde::de::Error::duplicate_field("class"));
                            }
                            class__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Rank => {
                            if rank__.is_some() {
                                return Err(serde::de::Error::duplicate_field("rank"));
                            }
                            rank__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Factors => {
                            if factors__.is_some() {
                                return Err(serde::de::Error::duplicate_field("factors"));
                            }
                            factors__ = map_.next_value()?;
                        }
                        GeneratedField::Sentence => {
                            if sentence__.is_some() {
                                return Err(serde::de::Error::duplicate_field("sentence"));
                            }
                            sentence__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Vulnerability => {
                            if vulnerability__.is_some() {
                                return Err(serde::de::Error::duplicate_field("vulnerability"));
                            }
                            vulnerability__ = map_.next_value()?;
                        }
                        GeneratedField::Versions => {
                            if versions__.is_some() {
                                return Err(serde::de::Error::duplicate_field("versions"));
                            }
                            versions__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Fixed => {
                            if fixed__.is_some() {
                                return Err(serde::de::Error::duplicate_field("fixed"));
                            }
                            fixed__ = map_.next_value()?;
                        }
                        GeneratedField::Status => {
                            if status__.is_some() {
                                return Err(serde::de::Error::duplicate_field("status"));
                            }
                            status__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Images => {
                            if images__.is_some() {
                                return Err(serde::de::Error::duplicate_field("images"));
                            }
                            images__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Advisory => {
                            if advisory__.is_some() {
                                return Err(serde::de::Error::duplicate_field("advisory"));
                            }
                            advisory__ = Some(map_.next_value()?);
                        }
                        GeneratedField::OpenedAt => {
                            if opened_at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("openedAt"));
                            }
                            opened_at__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Due => {
                            if due__.is_some() {
                                return Err(serde::de::Error::duplicate_field("due"));
                            }
                            due__ = Some(map_.next_value()?);
                        }
                        GeneratedField::DbSeq => {
                            if db_seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("dbSeq"));
                            }
                            db_seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Evidence => {
                            if evidence__.is_some() {
                                return Err(serde::de::Error::duplicate_field("evidence"));
                            }
                            evidence__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Suppressions => {
                            if suppressions__.is_some() {
                                return Err(serde::de::Error::duplicate_field("suppressions"));
                            }
                            suppressions__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Finding {
                    id: id__.unwrap_or_default(),
                    vulnerability_id: vulnerability_id__.unwrap_or_default(),
                    package: package__,
                    holder: holder__,
                    revision: revision__.unwrap_or_default(),
                    state: state__.unwrap_or_default(),
                    class: class__.unwrap_or_default(),
                    rank: rank__.unwrap_or_default(),
                    factors: factors__,
                    sentence: sentence__.unwrap_or_default(),
                    vulnerability: vulnerability__,
                    versions: versions__.unwrap_or_default(),
                    fixed: fixed__,
                    status: status__.unwrap_or_default(),
                    images: images__.unwrap_or_default(),
                    advisory: advisory__.unwrap_or_default(),
                    opened_at: opened_at__.unwrap_or_default(),
                    due: due__.unwrap_or_default(),
                    db_seq: db_seq__.unwrap_or_default(),
                    evidence: evidence__.unwrap_or_default(),
                    suppressions: suppressions__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Finding", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Holder {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.holder.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Holder", len)?;
        if let Some(v) = self.holder.as_ref() {
            match v {
                holder::Holder::Workload(v) => {
                    struct_ser.serialize_field("workload", v)?;
                }
                holder::Holder::Repository(v) => {
                    struct_ser.serialize_field("repository", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Holder {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "workload",
            "repository",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Workload,
            Repository,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "workload" => Ok(GeneratedField::Workload),
                            "repository" => Ok(GeneratedField::Repository),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Holder;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Holder")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Holder, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut holder__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Workload => {
                            if holder__.is_some() {
                                return Err(serde::de::Error::duplicate_field("workload"));
                            }
                            holder__ = map_.next_value::<::std::option::Option<_>>()?.map(holder::Holder::Workload)
;
                        }
                        GeneratedField::Repository => {
                            if holder__.is_some() {
                                return Err(serde::de::Error::duplicate_field("repository"));
                            }
                            holder__ = map_.next_value::<::std::option::Option<_>>()?.map(holder::Holder::Repository)
;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Holder {
                    holder: holder__,
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Holder", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for ImageDeleted {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.registry.is_empty() {
            len += 1;
        }
        if !self.repository.is_empty() {
            len += 1;
        }
        if !self.tag.is_empty() {
            len += 1;
        }
        if !self.digest.is_empty() {
            len += 1;
        }
        if self.at != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.ImageDeleted", len)?;
        if !self.registry.is_empty() {
            struct_ser.serialize_field("registry", &self.registry)?;
        }
        if !self.repository.is_empty() {
            struct_ser.serialize_field("repository", &self.repository)?;
        }
        if !self.tag.is_empty() {
            struct_ser.serialize_field("tag", &self.tag)?;
        }
        if !self.digest.is_empty() {
            struct_ser.serialize_field("digest", &self.digest)?;
        }
        if self.at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("at", ToString::to_string(&self.at).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ImageDeleted {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "registry",
            "repository",
            "tag",
            "digest",
            "at",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Registry,
            Repository,
            Tag,
            Digest,
            At,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "registry" => Ok(GeneratedField::Registry),
                            "repository" => Ok(GeneratedField::Repository),
                            "tag" => Ok(GeneratedField::Tag),
                            "digest" => Ok(GeneratedField::Digest),
                            "at" => Ok(GeneratedField::At),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ImageDeleted;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.ImageDeleted")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ImageDeleted, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut registry__ = None;
                let mut repository__ = None;
                let mut tag__ = None;
                let mut digest__ = None;
                let mut at__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Registry => {
                            if registry__.is_some() {
                                return Err(serde::de::Error::duplicate_field("registry"));
                            }
                            registry__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Repository => {
                            if repository__.is_some() {
                                return Err(serde::de::Error::duplicate_field("repository"));
                            }
                            repository__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Tag => {
                            if tag__.is_some() {
                                return Err(serde::de::Error::duplicate_field("tag"));
                            }
                            tag__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Digest => {
                            if digest__.is_some() {
                                return Err(serde::de::Error::duplicate_field("digest"));
                            }
                            digest__ = Some(map_.next_value()?);
                        }
                        GeneratedField::At => {
                            if at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("at"));
                            }
                            at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(ImageDeleted {
                    registry: registry__.unwrap_or_default(),
                    repository: repository__.unwrap_or_default(),
                    tag: tag__.unwrap_or_default(),
                    digest: digest__.unwrap_or_default(),
                    at: at__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.ImageDeleted", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for ImagePushed {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.registry.is_empty() {
            len += 1;
        }
        if !self.repository.is_empty() {
            len += 1;
        }
        if !self.tag.is_empty() {
            len += 1;
        }
        if !self.digest.is_empty() {
            len += 1;
        }
        if !self.media_type.is_empty() {
            len += 1;
        }
        if self.at != 0 {
            len += 1;
        }
        if !self.lane.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.ImagePushed", len)?;
        if !self.registry.is_empty() {
            struct_ser.serialize_field("registry", &self.registry)?;
        }
        if !self.repository.is_empty() {
            struct_ser.serialize_field("repository", &self.repository)?;
        }
        if !self.tag.is_empty() {
            struct_ser.serialize_field("tag", &self.tag)?;
        }
        if !self.digest.is_empty() {
            struct_ser.serialize_field("digest", &self.digest)?;
        }
        if !self.media_type.is_empty() {
            struct_ser.serialize_field("mediaType", &self.media_type)?;
        }
        if self.at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("at", ToString::to_string(&self.at).as_str())?;
        }
        if !self.lane.is_empty() {
            struct_ser.serialize_field("lane", &self.lane)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ImagePushed {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "registry",
            "repository",
            "tag",
            "digest",
            "media_type",
            "mediaType",
            "at",
            "lane",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Registry,
            Repository,
            Tag,
            Digest,
            MediaType,
            At,
            Lane,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "registry" => Ok(GeneratedField::Registry),
                            "repository" => Ok(GeneratedField::Repository),
                            "tag" => Ok(GeneratedField::Tag),
                            "digest" => Ok(GeneratedField::Digest),
                            "mediaType" | "media_type" => Ok(GeneratedField::MediaType),
                            "at" => Ok(GeneratedField::At),
                            "lane" => Ok(GeneratedField::Lane),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ImagePushed;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.ImagePushed")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ImagePushed, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut registry__ = None;
                let mut repository__ = None;
                let mut tag__ = None;
                let mut digest__ = None;
                let mut media_type__ = None;
                let mut at__ = None;
                let mut lane__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Registry => {
                            if registry__.is_some() {
                                return Err(serde::de::Error::duplicate_field("registry"));
                            }
                            registry__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Repository => {
                            if repository__.is_some() {
                                return Err(serde::de::Error::duplicate_field("repository"));
                            }
                            repository__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Tag => {
                            if tag__.is_some() {
                                return Err(serde::de::Error::duplicate_field("tag"));
                            }
                            tag__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Digest => {
                            if digest__.is_some() {
                                return Err(serde::de::Error::duplicate_field("digest"));
                            }
                            digest__ = Some(map_.next_value()?);
                        }
                        GeneratedField::MediaType => {
                            if media_type__.is_some() {
                                return Err(serde::de::Error::duplicate_field("mediaType"));
                            }
                            media_type__ = Some(map_.next_value()?);
                        }
                        GeneratedField::At => {
                            if at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("at"));
                            }
                            at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Lane => {
                            if lane__.is_some() {
                                return Err(serde::de::Error::duplicate_field("lane"));
                            }
                            lane__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(ImagePushed {
                    registry: registry__.unwrap_or_default(),
                    repository: repository__.unwrap_or_default(),
                    tag: tag__.unwrap_or_default(),
                    digest: digest__.unwrap_or_default(),
                    media_type: media_type__.unwrap_or_default(),
                    at: at__.unwrap_or_default(),
                    lane: lane__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.ImagePushed", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Kev {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.date_added.is_empty() {
            len += 1;
        }
        if self.ransomware {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Kev", len)?;
        if !self.date_added.is_empty() {
            struct_ser.serialize_field("dateAdded", &self.date_added)?;
        }
        if self.ransomware {
            struct_ser.serialize_field("ransomware", &self.ransomware)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Kev {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "date_added",
            "dateAdded",
            "ransomware",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            DateAdded,
            Ransomware,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "dateAdded" | "date_added" => Ok(GeneratedField::DateAdded),
                            "ransomware" => Ok(GeneratedField::Ransomware),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Kev;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Kev")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Kev, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut date_added__ = None;
                let mut ransomware__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::DateAdded => {
                            if date_added__.is_some() {
                                return Err(serde::de::Error::duplicate_field("dateAdded"));
                            }
                            date_added__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Ransomware => {
                            if ransomware__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ransomware"));
                            }
                            ransomware__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Kev {
                    date_added: date_added__.unwrap_or_default(),
                    ransomware: ransomware__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Kev", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for LayerPushed {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.registry.is_empty() {
            len += 1;
        }
        if !self.repository.is_empty() {
            len += 1;
        }
        if !self.digest.is_empty() {
            len += 1;
        }
        if !self.media_type.is_empty() {
            len += 1;
        }
        if self.size != 0 {
            len += 1;
        }
        if self.at != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.LayerPushed", len)?;
        if !self.registry.is_empty() {
            struct_ser.serialize_field("registry", &self.registry)?;
        }
        if !self.repository.is_empty() {
            struct_ser.serialize_field("repository", &self.repository)?;
        }
        if !self.digest.is_empty() {
            struct_ser.serialize_field("digest", &self.digest)?;
        }
        if !self.media_type.is_empty() {
            struct_ser.serialize_field("mediaType", &self.media_type)?;
        }
        if self.size != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("size", ToString::to_string(&self.size).as_str())?;
        }
        if self.at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("at", ToString::to_string(&self.at).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for LayerPushed {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "registry",
            "repository",
            "digest",
            "media_type",
            "mediaType",
            "size",
            "at",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Registry,
            Repository,
            Digest,
            MediaType,
            Size,
            At,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "registry" => Ok(GeneratedField::Registry),
                            "repository" => Ok(GeneratedField::Repository),
                            "digest" => Ok(GeneratedField::Digest),
                            "mediaType" | "media_type" => Ok(GeneratedField::MediaType),
                            "size" => Ok(GeneratedField::Size),
                            "at" => Ok(GeneratedField::At),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = LayerPushed;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.LayerPushed")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<LayerPushed, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut registry__ = None;
                let mut repository__ = None;
                let mut digest__ = None;
                let mut media_type__ = None;
                let mut size__ = None;
                let mut at__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Registry => {
                            if registry__.is_some() {
                                return Err(serde::de::Error::duplicate_field("registry"));
                            }
                            registry__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Repository => {
                            if repository__.is_some() {
                                return Err(serde::de::Error::duplicate_field("repository"));
                            }
                            repository__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Digest => {
                            if digest__.is_some() {
                                return Err(serde::de::Error::duplicate_field("digest"));
                            }
                            digest__ = Some(map_.next_value()?);
                        }
                        GeneratedField::MediaType => {
                            if media_type__.is_some() {
                                return Err(serde::de::Error::duplicate_field("mediaType"));
                            }
                            media_type__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Size => {
                            if size__.is_some() {
                                return Err(serde::de::Error::duplicate_field("size"));
                            }
                            size__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::At => {
                            if at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("at"));
                            }
                            at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(LayerPushed {
                    registry: registry__.unwrap_or_default(),
                    repository: repository__.unwrap_or_default(),
                    digest: digest__.unwrap_or_default(),
                    media_type: media_type__.unwrap_or_default(),
                    size: size__.unwrap_or_default(),
                    at: at__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.LayerPushed", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for PackageKey {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.ecosystem.is_empty() {
            len += 1;
        }
        if self.release.is_some() {
            len += 1;
        }
        if !self.name.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.PackageKey", len)?;
        if !self.ecosystem.is_empty() {
            struct_ser.serialize_field("ecosystem", &self.ecosystem)?;
        }
        if let Some(v) = self.release.as_ref() {
            struct_ser.serialize_field("release", v)?;
        }
        if !self.name.is_empty() {
            struct_ser.serialize_field("name", &self.name)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for PackageKey {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "ecosystem",
            "release",
            "name",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Ecosystem,
            Release,
            Name,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "ecosystem" => Ok(GeneratedField::Ecosystem),
                            "release" => Ok(GeneratedField::Release),
                            "name" => Ok(GeneratedField::Name),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = PackageKey;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.PackageKey")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<PackageKey, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut ecosystem__ = None;
                let mut release__ = None;
                let mut name__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Ecosystem => {
                            if ecosystem__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ecosystem"));
                            }
                            ecosystem__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Release => {
                            if release__.is_some() {
                                return Err(serde::de::Error::duplicate_field("release"));
                            }
                            release__ = map_.next_value()?;
                        }
                        GeneratedField::Name => {
                            if name__.is_some() {
                                return Err(serde::de::Error::duplicate_field("name"));
                            }
                            name__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(PackageKey {
                    ecosystem: ecosystem__.unwrap_or_default(),
                    release: release__,
                    name: name__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.PackageKey", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Partial {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.code.is_empty() {
            len += 1;
        }
        if !self.detail.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Partial", len)?;
        if !self.code.is_empty() {
            struct_ser.serialize_field("code", &self.code)?;
        }
        if !self.detail.is_empty() {
            struct_ser.serialize_field("detail", &self.detail)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Partial {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "code",
            "detail",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Code,
            Detail,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "code" => Ok(GeneratedField::Code),
                            "detail" => Ok(GeneratedField::Detail),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Partial;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Partial")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Partial, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut code__ = None;
                let mut detail__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Code => {
                            if code__.is_some() {
                                return Err(serde::de::Error::duplicate_field("code"));
                            }
                            code__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Detail => {
                            if detail__.is_some() {
                                return Err(serde::de::Error::duplicate_field("detail"));
                            }
                            detail__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Partial {
                    code: code__.unwrap_or_default(),
                    detail: detail__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Partial", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Platform {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.os.is_empty() {
            len += 1;
        }
        if !self.architecture.is_empty() {
            len += 1;
        }
        if !self.variant.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Platform", len)?;
        if !self.os.is_empty() {
            struct_ser.serialize_field("os", &self.os)?;
        }
        if !self.architecture.is_empty() {
            struct_ser.serialize_field("architecture", &self.architecture)?;
        }
        if !self.variant.is_empty() {
            struct_ser.serialize_field("variant", &self.variant)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Platform {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "os",
            "architecture",
            "variant",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Os,
            Architecture,
            Variant,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "os" => Ok(GeneratedField::Os),
                            "architecture" => Ok(GeneratedField::Architecture),
                            "variant" => Ok(GeneratedField::Variant),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Platform;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Platform")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Platform, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut os__ = None;
                let mut architecture__ = None;
                let mut variant__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Os => {
                            if os__.is_some() {
                                return Err(serde::de::Error::duplicate_field("os"));
                            }
                            os__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Architecture => {
                            if architecture__.is_some() {
                                return Err(serde::de::Error::duplicate_field("architecture"));
                            }
                            architecture__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Variant => {
                            if variant__.is_some() {
                                return Err(serde::de::Error::duplicate_field("variant"));
                            }
                            variant__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Platform {
                    os: os__.unwrap_or_default(),
                    architecture: architecture__.unwrap_or_default(),
                    variant: variant__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Platform", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Release {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.id.is_empty() {
            len += 1;
        }
        if !self.version.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Release", len)?;
        if !self.id.is_empty() {
            struct_ser.serialize_field("id", &self.id)?;
        }
        if !self.version.is_empty() {
            struct_ser.serialize_field("version", &self.version)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Release {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "id",
            "version",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Id,
            Version,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "id" => Ok(GeneratedField::Id),
                            "version" => Ok(GeneratedField::Version),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Release;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Release")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Release, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut id__ = None;
                let mut version__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Id => {
                            if id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("id"));
                            }
                            id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Release {
                    id: id__.unwrap_or_default(),
                    version: version__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Release", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for RepositoryHolder {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.registry.is_empty() {
            len += 1;
        }
        if !self.repository.is_empty() {
            len += 1;
        }
        if self.platform.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.RepositoryHolder", len)?;
        if !self.registry.is_empty() {
            struct_ser.serialize_field("registry", &self.registry)?;
        }
        if !self.repository.is_empty() {
            struct_ser.serialize_field("repository", &self.repository)?;
        }
        if let Some(v) = self.platform.as_ref() {
            struct_ser.serialize_field("platform", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for RepositoryHolder {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "registry",
            "repository",
            "platform",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Registry,
            Repository,
            Platform,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "registry" => Ok(GeneratedField::Registry),
                            "repository" => Ok(GeneratedField::Repository),
                            "platform" => Ok(GeneratedField::Platform),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = RepositoryHolder;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.RepositoryHolder")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<RepositoryHolder, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut registry__ = None;
                let mut repository__ = None;
                let mut platform__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Registry => {
                            if registry__.is_some() {
                                return Err(serde::de::Error::duplicate_field("registry"));
                            }
                            registry__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Repository => {
                            if repository__.is_some() {
                                return Err(serde::de::Error::duplicate_field("repository"));
                            }
                            repository__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Platform => {
                            if platform__.is_some() {
                                return Err(serde::de::Error::duplicate_field("platform"));
                            }
                            platform__ = map_.next_value()?;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(RepositoryHolder {
                    registry: registry__.unwrap_or_default(),
                    repository: repository__.unwrap_or_default(),
                    platform: platform__,
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.RepositoryHolder", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for RollUp {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.epoch != 0 {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if !self.at.is_empty() {
            len += 1;
        }
        if self.cause.is_some() {
            len += 1;
        }
        if self.holder.is_some() {
            len += 1;
        }
        if !self.class.is_empty() {
            len += 1;
        }
        if !self.changes.is_empty() {
            len += 1;
        }
        if self.failure.is_some() {
            len += 1;
        }
        if !self.trace.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.RollUp", len)?;
        if self.epoch != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("epoch", ToString::to_string(&self.epoch).as_str())?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if !self.at.is_empty() {
            struct_ser.serialize_field("at", &self.at)?;
        }
        if let Some(v) = self.cause.as_ref() {
            struct_ser.serialize_field("cause", v)?;
        }
        if let Some(v) = self.holder.as_ref() {
            struct_ser.serialize_field("holder", v)?;
        }
        if !self.class.is_empty() {
            struct_ser.serialize_field("class", &self.class)?;
        }
        if !self.changes.is_empty() {
            struct_ser.serialize_field("changes", &self.changes)?;
        }
        if let Some(v) = self.failure.as_ref() {
            struct_ser.serialize_field("failure", v)?;
        }
        if !self.trace.is_empty() {
            struct_ser.serialize_field("trace", &self.trace)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for RollUp {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "epoch",
            "seq",
            "at",
            "cause",
            "holder",
            "class",
            "changes",
            "failure",
            "trace",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Epoch,
            Seq,
            At,
            Cause,
            Holder,
            Class,
            Changes,
            Failure,
            Trace,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "epoch" => Ok(GeneratedField::Epoch),
                            "seq" => Ok(GeneratedField::Seq),
                            "at" => Ok(GeneratedField::At),
                            "cause" => Ok(GeneratedField::Cause),
                            "holder" => Ok(GeneratedField::Holder),
                            "class" => Ok(GeneratedField::Class),
                            "changes" => Ok(GeneratedField::Changes),
                            "failure" => Ok(GeneratedField::Failure),
                            "trace" => Ok(GeneratedField::Trace),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = RollUp;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.RollUp")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<RollUp, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut epoch__ = None;
                let mut seq__ = None;
                let mut at__ = None;
                let mut cause__ = None;
                let mut holder__ = None;
                let mut class__ = None;
                let mut changes__ = None;
                let mut failure__ = None;
                let mut trace__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Epoch => {
                            if epoch__.is_some() {
                                return Err(serde::de::Error::duplicate_field("epoch"));
                            }
                            epoch__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::At => {
                            if at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("at"));
                            }
                            at__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Cause => {
                            if cause__.is_some() {
                                return Err(serde::de::Error::duplicate_field("cause"));
                            }
                            cause__ = map_.next_value()?;
                        }
                        GeneratedField::Holder => {
                            if holder__.is_some() {
                                return Err(serde::de::Error::duplicate_field("holder"));
                            }
                            holder__ = map_.next_value()?;
                        }
                        GeneratedField::Class => {
                            if class__.is_some() {
                                return Err(serde::de::Error::duplicate_field("class"));
                            }
                            class__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Changes => {
                            if changes__.is_some() {
                                return Err(serde::de::Error::duplicate_field("changes"));
                            }
                            changes__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Failure => {
                            if failure__.is_some() {
                                return Err(serde::de::Error::duplicate_field("failure"));
                            }
                            failure__ = map_.next_value()?;
                        }
                        GeneratedField::Trace => {
                            if trace__.is_some() {
                                return Err(serde::de::Error::duplicate_field("trace"));
                            }
                            trace__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(RollUp {
                    epoch: epoch__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    at: at__.unwrap_or_default(),
                    cause: cause__,
                    holder: holder__,
                    class: class__.unwrap_or_default(),
                    changes: changes__.unwrap_or_default(),
                    failure: failure__,
                    trace: trace__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.RollUp", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for SourcedFlag {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.value {
            len += 1;
        }
        if !self.source.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.SourcedFlag", len)?;
        if self.value {
            struct_ser.serialize_field("value", &self.value)?;
        }
        if !self.source.is_empty() {
            struct_ser.serialize_field("source", &self.source)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for SourcedFlag {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "value",
            "source",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Value,
            Source,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "value" => Ok(GeneratedField::Value),
                            "source" => Ok(GeneratedField::Source),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = SourcedFlag;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.SourcedFlag")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<SourcedFlag, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut value__ = None;
                let mut source__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Value => {
                            if value__.is_some() {
                                return Err(serde::de::Error::duplicate_field("value"));
                            }
                            value__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Source => {
                            if source__.is_some() {
                                return Err(serde::de::Error::duplicate_field("source"));
                            }
                            source__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(SourcedFlag {
                    value: value__.unwrap_or_default(),
                    source: source__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.SourcedFlag", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Suppression {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.statement.is_empty() {
            len += 1;
        }
        if !self.kind.is_empty() {
            len += 1;
        }
        if !self.status.is_empty() {
            len += 1;
        }
        if !self.justification.is_empty() {
            len += 1;
        }
        if !self.reason.is_empty() {
            len += 1;
        }
        if !self.issuer.is_empty() {
            len += 1;
        }
        if !self.document.is_empty() {
            len += 1;
        }
        if !self.signed_by.is_empty() {
            len += 1;
        }
        if !self.expires.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Suppression", len)?;
        if !self.statement.is_empty() {
            struct_ser.serialize_field("statement", &self.statement)?;
        }
        if !self.kind.is_empty() {
            struct_ser.serialize_field("kind", &self.kind)?;
        }
        if !self.status.is_empty() {
            struct_ser.serialize_field("status", &self.status)?;
        }
        if !self.justification.is_empty() {
            struct_ser.serialize_field("justification", &self.justification)?;
        }
        if !self.reason.is_empty() {
            struct_ser.serialize_field("reason", &self.reason)?;
        }
        if !self.issuer.is_empty() {
            struct_ser.serialize_field("issuer", &self.issuer)?;
        }
        if !self.document.is_empty() {
            struct_ser.serialize_field("document", &self.document)?;
        }
        if !self.signed_by.is_empty() {
            struct_ser.serialize_field("signedBy", &self.signed_by)?;
        }
        if !self.expires.is_empty() {
            struct_ser.serialize_field("expires", &self.expires)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Suppression {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "statement",
            "kind",
            "status",
            "justification",
            "reason",
            "issuer",
            "document",
            "signed_by",
            "signedBy",
            "expires",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Statement,
            Kind,
            Status,
            Justification,
            Reason,
            Issuer,
            Document,
            SignedBy,
            Expires,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "statement" => Ok(GeneratedField::Statement),
                            "kind" => Ok(GeneratedField::Kind),
                            "status" => Ok(GeneratedField::Status),
                            "justification" => Ok(GeneratedField::Justification),
                            "reason" => Ok(GeneratedField::Reason),
                            "issuer" => Ok(GeneratedField::Issuer),
                            "document" => Ok(GeneratedField::Document),
                            "signedBy" | "signed_by" => Ok(GeneratedField::SignedBy),
                            "expires" => Ok(GeneratedField::Expires),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Suppression;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Suppression")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Suppression, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut statement__ = None;
                let mut kind__ = None;
                let mut status__ = None;
                let mut justification__ = None;
                let mut reason__ = None;
                let mut issuer__ = None;
                let mut document__ = None;
                let mut signed_by__ = None;
                let mut expires__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Statement => {
                            if statement__.is_some() {
                                return Err(serde::de::Error::duplicate_field("statement"));
                            }
                            statement__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Kind => {
                            if kind__.is_some() {
                                return Err(serde::de::Error::duplicate_field("kind"));
                            }
                            kind__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Status => {
                            if status__.is_some() {
                                return Err(serde::de::Error::duplicate_field("status"));
                            }
                            status__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Justification => {
                            if justification__.is_some() {
                                return Err(serde::de::Error::duplicate_field("justification"));
                            }
                            justification__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Reason => {
                            if reason__.is_some() {
                                return Err(serde::de::Error::duplicate_field("reason"));
                            }
                            reason__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Issuer => {
                            if issuer__.is_some() {
                                return Err(serde::de::Error::duplicate_field("issuer"));
                            }
                            issuer__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Document => {
                            if document__.is_some() {
                                return Err(serde::de::Error::duplicate_field("document"));
                            }
                            document__ = Some(map_.next_value()?);
                        }
                        GeneratedField::SignedBy => {
                            if signed_by__.is_some() {
                                return Err(serde::de::Error::duplicate_field("signedBy"));
                            }
                            signed_by__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Expires => {
                            if expires__.is_some() {
                                return Err(serde::de::Error::duplicate_field("expires"));
                            }
                            expires__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Suppression {
                    statement: statement__.unwrap_or_default(),
                    kind: kind__.unwrap_or_default(),
                    status: status__.unwrap_or_default(),
                    justification: justification__.unwrap_or_default(),
                    reason: reason__.unwrap_or_default(),
                    issuer: issuer__.unwrap_or_default(),
                    document: document__.unwrap_or_default(),
                    signed_by: signed_by__.unwrap_or_default(),
                    expires: expires__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Suppression", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Vulnerability {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.id.is_empty() {
            len += 1;
        }
        if !self.aliases.is_empty() {
            len += 1;
        }
        if !self.summary.is_empty() {
            len += 1;
        }
        if !self.severity.is_empty() {
            len += 1;
        }
        if !self.severity_source.is_empty() {
            len += 1;
        }
        if !self.cvss.is_empty() {
            len += 1;
        }
        if !self.published.is_empty() {
            len += 1;
        }
        if !self.modified.is_empty() {
            len += 1;
        }
        if self.kev.is_some() {
            len += 1;
        }
        if self.epss.is_some() {
            len += 1;
        }
        if !self.exploit.is_empty() {
            len += 1;
        }
        if self.automatable.is_some() {
            len += 1;
        }
        if self.total_impact.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.Vulnerability", len)?;
        if !self.id.is_empty() {
            struct_ser.serialize_field("id", &self.id)?;
        }
        if !self.aliases.is_empty() {
            struct_ser.serialize_field("aliases", &self.aliases)?;
        }
        if !self.summary.is_empty() {
            struct_ser.serialize_field("summary", &self.summary)?;
        }
        if !self.severity.is_empty() {
            struct_ser.serialize_field("severity", &self.severity)?;
        }
        if !self.severity_source.is_empty() {
            struct_ser.serialize_field("severitySource", &self.severity_source)?;
        }
        if !self.cvss.is_empty() {
            struct_ser.serialize_field("cvss", &self.cvss)?;
        }
        if !self.published.is_empty() {
            struct_ser.serialize_field("published", &self.published)?;
        }
        if !self.modified.is_empty() {
            struct_ser.serialize_field("modified", &self.modified)?;
        }
        if let Some(v) = self.kev.as_ref() {
            struct_ser.serialize_field("kev", v)?;
        }
        if let Some(v) = self.epss.as_ref() {
            struct_ser.serialize_field("epss", v)?;
        }
        if !self.exploit.is_empty() {
            struct_ser.serialize_field("exploit", &self.exploit)?;
        }
        if let Some(v) = self.automatable.as_ref() {
            struct_ser.serialize_field("automatable", v)?;
        }
        if let Some(v) = self.total_impact.as_ref() {
            struct_ser.serialize_field("totalImpact", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Vulnerability {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "id",
            "aliases",
            "summary",
            "severity",
            "severity_source",
            "severitySource",
            "cvss",
            "published",
            "modified",
            "kev",
            "epss",
            "exploit",
            "automatable",
            "total_impact",
            "totalImpact",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Id,
            Aliases,
            Summary,
            Severity,
            SeveritySource,
            Cvss,
            Published,
            Modified,
            Kev,
            Epss,
            Exploit,
            Automatable,
            TotalImpact,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "id" => Ok(GeneratedField::Id),
                            "aliases" => Ok(GeneratedField::Aliases),
                            "summary" => Ok(GeneratedField::Summary),
                            "severity" => Ok(GeneratedField::Severity),
                            "severitySource" | "severity_source" => Ok(GeneratedField::SeveritySource),
                            "cvss" => Ok(GeneratedField::Cvss),
                            "published" => Ok(GeneratedField::Published),
                            "modified" => Ok(GeneratedField::Modified),
                            "kev" => Ok(GeneratedField::Kev),
                            "epss" => Ok(GeneratedField::Epss),
                            "exploit" => Ok(GeneratedField::Exploit),
                            "automatable" => Ok(GeneratedField::Automatable),
                            "totalImpact" | "total_impact" => Ok(GeneratedField::TotalImpact),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Vulnerability;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.Vulnerability")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Vulnerability, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut id__ = None;
                let mut aliases__ = None;
                let mut summary__ = None;
                let mut severity__ = None;
                let mut severity_source__ = None;
                let mut cvss__ = None;
                let mut published__ = None;
                let mut modified__ = None;
                let mut kev__ = None;
                let mut epss__ = None;
                let mut exploit__ = None;
                let mut automatable__ = None;
                let mut total_impact__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Id => {
                            if id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("id"));
                            }
                            id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Aliases => {
                            if aliases__.is_some() {
                                return Err(serde::de::Error::duplicate_field("aliases"));
                            }
                            aliases__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Summary => {
                            if summary__.is_some() {
                                return Err(serde::de::Error::duplicate_field("summary"));
                            }
                            summary__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Severity => {
                            if severity__.is_some() {
                                return Err(serde::de::Error::duplicate_field("severity"));
                            }
                            severity__ = Some(map_.next_value()?);
                        }
                        GeneratedField::SeveritySource => {
                            if severity_source__.is_some() {
                                return Err(serde::de::Error::duplicate_field("severitySource"));
                            }
                            severity_source__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Cvss => {
                            if cvss__.is_some() {
                                return Err(serde::de::Error::duplicate_field("cvss"));
                            }
                            cvss__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Published => {
                            if published__.is_some() {
                                return Err(serde::de::Error::duplicate_field("published"));
                            }
                            published__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Modified => {
                            if modified__.is_some() {
                                return Err(serde::de::Error::duplicate_field("modified"));
                            }
                            modified__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Kev => {
                            if kev__.is_some() {
                                return Err(serde::de::Error::duplicate_field("kev"));
                            }
                            kev__ = map_.next_value()?;
                        }
                        GeneratedField::Epss => {
                            if epss__.is_some() {
                                return Err(serde::de::Error::duplicate_field("epss"));
                            }
                            epss__ = 
                                map_.next_value::<::std::option::Option<::pbjson::private::NumberDeserialize<_>>>()?.map(|x| x.0)
                            ;
                        }
                        GeneratedField::Exploit => {
                            if exploit__.is_some() {
                                return Err(serde::de::Error::duplicate_field("exploit"));
                            }
                            exploit__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Automatable => {
                            if automatable__.is_some() {
                                return Err(serde::de::Error::duplicate_field("automatable"));
                            }
                            automatable__ = map_.next_value()?;
                        }
                        GeneratedField::TotalImpact => {
                            if total_impact__.is_some() {
                                return Err(serde::de::Error::duplicate_field("totalImpact"));
                            }
                            total_impact__ = map_.next_value()?;
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Vulnerability {
                    id: id__.unwrap_or_default(),
                    aliases: aliases__.unwrap_or_default(),
                    summary: summary__.unwrap_or_default(),
                    severity: severity__.unwrap_or_default(),
                    severity_source: severity_source__.unwrap_or_default(),
                    cvss: cvss__.unwrap_or_default(),
                    published: published__.unwrap_or_default(),
                    modified: modified__.unwrap_or_default(),
                    kev: kev__,
                    epss: epss__,
                    exploit: exploit__.unwrap_or_default(),
                    automatable: automatable__,
                    total_impact: total_impact__,
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.Vulnerability", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for WorkloadHolder {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.workload.is_some() {
            len += 1;
        }
        if !self.container.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.WorkloadHolder", len)?;
        if let Some(v) = self.workload.as_ref() {
            struct_ser.serialize_field("workload", v)?;
        }
        if !self.container.is_empty() {
            struct_ser.serialize_field("container", &self.container)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for WorkloadHolder {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "workload",
            "container",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Workload,
            Container,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "workload" => Ok(GeneratedField::Workload),
                            "container" => Ok(GeneratedField::Container),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = WorkloadHolder;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.WorkloadHolder")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<WorkloadHolder, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut workload__ = None;
                let mut container__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Workload => {
                            if workload__.is_some() {
                                return Err(serde::de::Error::duplicate_field("workload"));
                            }
                            workload__ = map_.next_value()?;
                        }
                        GeneratedField::Container => {
                            if container__.is_some() {
                                return Err(serde::de::Error::duplicate_field("container"));
                            }
                            container__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(WorkloadHolder {
                    workload: workload__,
                    container: container__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.WorkloadHolder", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for WorkloadName {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.cluster.is_empty() {
            len += 1;
        }
        if !self.namespace.is_empty() {
            len += 1;
        }
        if !self.kind.is_empty() {
            len += 1;
        }
        if !self.name.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("plimsoll.v1.WorkloadName", len)?;
        if !self.cluster.is_empty() {
            struct_ser.serialize_field("cluster", &self.cluster)?;
        }
        if !self.namespace.is_empty() {
            struct_ser.serialize_field("namespace", &self.namespace)?;
        }
        if !self.kind.is_empty() {
            struct_ser.serialize_field("kind", &self.kind)?;
        }
        if !self.name.is_empty() {
            struct_ser.serialize_field("name", &self.name)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for WorkloadName {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "cluster",
            "namespace",
            "kind",
            "name",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Cluster,
            Namespace,
            Kind,
            Name,
            __SkipField__,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "cluster" => Ok(GeneratedField::Cluster),
                            "namespace" => Ok(GeneratedField::Namespace),
                            "kind" => Ok(GeneratedField::Kind),
                            "name" => Ok(GeneratedField::Name),
                            _ => Ok(GeneratedField::__SkipField__),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = WorkloadName;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct plimsoll.v1.WorkloadName")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<WorkloadName, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut cluster__ = None;
                let mut namespace__ = None;
                let mut kind__ = None;
                let mut name__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Cluster => {
                            if cluster__.is_some() {
                                return Err(serde::de::Error::duplicate_field("cluster"));
                            }
                            cluster__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Namespace => {
                            if namespace__.is_some() {
                                return Err(serde::de::Error::duplicate_field("namespace"));
                            }
                            namespace__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Kind => {
                            if kind__.is_some() {
                                return Err(serde::de::Error::duplicate_field("kind"));
                            }
                            kind__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Name => {
                            if name__.is_some() {
                                return Err(serde::de::Error::duplicate_field("name"));
                            }
                            name__ = Some(map_.next_value()?);
                        }
                        GeneratedField::__SkipField__ => {
                            let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(WorkloadName {
                    cluster: cluster__.unwrap_or_default(),
                    namespace: namespace__.unwrap_or_default(),
                    kind: kind__.unwrap_or_default(),
                    name: name__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("plimsoll.v1.WorkloadName", FIELDS, GeneratedVisitor)
    }
}
