//! The edits as methods of a document.

use super::error::EditError;
use super::model::{Change, Edit, Outcome, RemovePolicy};
use super::retag;
use super::transaction::{Rules, Transaction};
use crate::document::Document;

impl Document {
    /// Applies edits in order, all or none; each sees what the ones before it did.
    ///
    /// # Invariant
    /// Edits MUST NOT make a document worse: what they bring fits the content model of CAEX in its place, order included, is written in
    /// the document's namespace and in its version's format of links, and brings no ID that exists. What was wrong before may stay.
    ///
    /// # Errors
    /// [`EditError`] of the first edit that is refused. On error the document is unchanged.
    ///
    /// # Examples
    /// A sensor is exchanged in one step, and that is taken back:
    /// ```
    /// use dt_aml::{Document, Edit, Limits, RemovePolicy};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Sensor" ID="old"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// let outcome = document.apply(&[
    ///     Edit::Remove { address: "old".into(), policy: RemovePolicy::Restrict },
    ///     Edit::Insert {
    ///         fragment: r#"<InternalElement Name="Sensor" ID="new"/>"#.into(),
    ///         parent: "/InstanceHierarchy[Plant]".into(),
    ///         after: None,
    ///     },
    /// ])?;
    /// assert_eq!(outcome.changes[0].removed, ["old"]);
    /// assert_eq!(outcome.changes[1].inserted, ["new"]);
    ///
    /// document.apply_patch(&outcome.inverse)?;
    /// assert_eq!(document.to_bytes(), aml.as_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&mut self, edits: &[Edit]) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.apply_all(edits))
    }

    /// Inserts `fragment` in the element at `parent`, directly behind the one at `after`.
    ///
    /// With `after: None` the fragment goes to the end of its CAEX schema group. It gets a line of its own, indented
    /// like its siblings, where its siblings have one. Paper: `insertAML`, Listing 1.2.
    ///
    /// # Invariant
    /// An ID names at most one element, so a fragment MUST NOT bring one that exists.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Motor" ID="m1"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// document.insert(r#"<InternalElement Name="Valve" ID="v1"/>"#, "/InstanceHierarchy[Plant]", Some("m1"))?;
    /// assert_eq!(document.find("v1")?.previous_sibling(), Some(document.find("m1")?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert(
        &mut self,
        fragment: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.insert(fragment, parent, after))
    }

    /// Removes the element at `address`, unless something outside it refers to it or into it.
    ///
    /// The white space before it goes too, so that removing what was just inserted restores the former bytes.
    /// Paper: `removeAML`, Listing 1.2.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, EditError, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Motor" ID="m1"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// document.insert(r#"<InternalElement Name="Valve" ID="v1"/>"#, "m1", None)?;
    /// document.remove("v1")?;
    /// assert_eq!(document.to_bytes(), aml.as_bytes());
    /// assert!(matches!(document.remove("v1"), Err(EditError::Find { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, address: &str) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.remove(address, RemovePolicy::Restrict))
    }

    /// Puts `fragment` in the place of the element at `address`, unless something refers to what goes and does not come back.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    pub fn replace(&mut self, address: &str, fragment: &str) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.replace(address, fragment, RemovePolicy::Restrict))
    }

    /// Sets the `Value` of the CAEX attribute at `address`.
    ///
    /// The value is not held against data type and constraints: ask [`Attribute::check`](crate::Attribute::check) before.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant"><InternalElement Name="Motor" ID="m1">
    ///   <Attribute Name="Speed" Unit="m/min"/>
    /// </InternalElement></InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// document.set_value("m1/Attribute[Speed]", "30")?;
    /// assert_eq!(document.find("m1/Attribute[Speed]/Value")?.text(), "30");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_value(&mut self, address: &str, value: &str) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.set_value(address, value))
    }

    /// Moves the element at `address` into the one at `parent`, directly behind the one at `after`; with `after: None` to the end of its
    /// CAEX schema group.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    pub fn move_to(
        &mut self,
        address: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.move_to(address, parent, after))
    }

    /// How many elements an edit would carry along: those that it moves, or reads anew between other tags. The work of such an edit
    /// follows from that, that of all others from what they bring and take away. 0 if it finds no element.
    ///
    /// Whoever takes edits from others can bound their work by it.
    pub fn carried_by(&self, edit: &Edit) -> usize {
        let found = |address: &str| self.find(address).map(|element| element.node);
        match edit {
            Edit::Move { address, .. } => found(address).map_or(0, |node| self.tree.preorder(node).count()),
            Edit::Retag { address, start, .. } => {
                found(address).map_or(0, |node| retag::renamed_by(&self.tree, node, start).count())
            }
            _ => 0,
        }
    }

    fn transact(
        &mut self,
        edit: impl FnOnce(&mut Transaction<'_>) -> Result<Vec<Change>, EditError>,
    ) -> Result<Outcome, EditError> {
        let mut transaction = Transaction::new(self, Rules::Strict);
        match edit(&mut transaction) {
            Ok(changes) => Ok(Outcome { changes, inverse: transaction.commit() }),
            Err(error) => {
                transaction.roll_back();
                Err(error)
            }
        }
    }
}
