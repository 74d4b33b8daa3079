pub(super) fn cases(_: &mut crate::check::case::Book) {}
